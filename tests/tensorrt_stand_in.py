"""A stand-in for the tensorrt package: it records what is asked of it, and its engines are ONNX graphs run on the CPU.

It has the classes and methods of TensorRT's documented Python API that the export uses, and no others, so that a call
of something else fails. It says nothing about whether TensorRT accepts a graph, nor about its figures.
"""

import ctypes
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import onnx
import onnxruntime

CALLS: list[tuple[Any, ...]] = []  # what was asked for, in order
ENGINE = b"a stand-in's engine\n"


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    TF32 = 7


class Logger:
    ERROR = 1

    def __init__(self, severity: int) -> None:
        CALLS.append(("Logger", severity))


@dataclass
class Network:
    flags: int
    graph: bytes = b""


@dataclass(frozen=True)
class ParserError:
    text: str

    def desc(self) -> str:
        return self.text


class OnnxParser:
    def __init__(self, network: Network, logger: Logger) -> None:
        self.network = network
        self.num_errors = 0

    def parse(self, graph: bytes) -> bool:
        try:
            onnx.checker.check_model(onnx.load_from_string(graph))
        except Exception:
            self.num_errors = 2
            return False
        self.network.graph = graph
        return True

    def get_error(self, index: int) -> ParserError:
        return ParserError(f"mistake {index}")


@dataclass
class Profile:
    shapes: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)

    def set_shape(self, name: str, least: tuple[int, ...], usual: tuple[int, ...], most: tuple[int, ...]) -> None:
        assert all(a <= b <= c for a, b, c in zip(least, usual, most, strict=True))
        self.shapes[name] = (least, usual, most)
        CALLS.append(("set_shape", name, least, usual, most))


@dataclass
class Config:
    profiles: list[Profile] = field(default_factory=list)

    def add_optimization_profile(self, profile: Profile) -> int:
        assert profile.shapes
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def clear_flag(self, flag: BuilderFlag) -> None:
        CALLS.append(("clear_flag", flag.name))


class Builder:
    def __init__(self, logger: Logger) -> None:
        pass

    def create_network(self, flags: int) -> Network:
        CALLS.append(("create_network", flags))
        return Network(flags)

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: Network, config: Config) -> memoryview | None:
        assert config.profiles, "a network with free axes needs a profile"
        LOADED.profile = config.profiles[0]
        return memoryview(ENGINE + network.graph) if network.graph else None


class Runtime:
    def __init__(self, logger: Logger) -> None:
        pass

    def deserialize_cuda_engine(self, content: bytes) -> "Engine | None":
        return Engine(content.removeprefix(ENGINE)) if content.startswith(ENGINE) else None


class Engine:
    def __init__(self, graph: bytes) -> None:
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        (value,) = [value for value in self.session.get_outputs() if value.name == name]
        return tuple(size if isinstance(size, int) else -1 for size in value.shape)

    def create_execution_context(self) -> "Context":
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = LOADED.profile.shapes[name]
        assert all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)), f"{shape} is not in the profile"
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        CALLS.append(("execute_async_v3", stream_handle))
        (given,) = self.engine.session.get_inputs()
        shape = self.shapes[given.name]
        kept = (ctypes.c_float * int(np.prod(shape))).from_address(self.addresses[given.name])
        values = np.frombuffer(memoryview(kept), np.float32)
        (name,) = [value.name for value in self.engine.session.get_outputs()]
        found = self.engine.session.run(None, {given.name: values.reshape(shape)})[0]
        ctypes.memmove(self.addresses[name], np.ascontiguousarray(found, "f4").ctypes.data, found.nbytes)
        return True


@dataclass
class Loaded:
    """The profile that the one engine of a test was built for: a real engine holds it itself."""

    profile: Profile = field(default_factory=Profile)


LOADED = Loaded()
