/** Copies what the package carries of the Python package into it: the model, the two detectors, their cards, the licence. */

import { copyFileSync, mkdirSync } from "node:fs";

const NAMES = ["pretrained.onnx", "speech_detector.onnx", "familiar_speech.json", "MODEL_CARD.md", "SPEECH_DETECTOR.md"];
const here = new URL("../", import.meta.url);

mkdirSync(new URL("weights/", here), { recursive: true });
for (const name of NAMES) copyFileSync(new URL(`../src/sound_groove/weights/${name}`, here), new URL(`weights/${name}`, here));
copyFileSync(new URL("../LICENSE", here), new URL("LICENSE", here));
