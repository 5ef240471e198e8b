/** The reference of the API, made of the description that the service gives of itself (openapi.json). */

import { make } from "./elements.js";

const DEPTH = 4; // to which an answer's parts are told
const WIDTH = 96; // letters of a line of JSON
const METHODS = ["get", "post", "delete"];

const main = document.getElementById("reference");
try {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  show(await answer.json());
} catch (error) {
  main.replaceChildren(make("p", { className: "problem", textContent: `openapi.json cannot be had: ${error.message}` }));
}

function show(description) {
  const found = Object.entries(description.paths).flatMap(([path, operations]) =>
    METHODS.filter((method) => method in operations).map((method) => ({ path, method, ...operations[method] })));
  const tags = [...new Set(found.map(({ tags: [tag] }) => tag))];
  const contents = make("ul", { className: "contents" }, ...found.map((one) => make("li", {},
    make("a", { href: `#${idOf(one)}` },
      make("span", {}, methodNode(one), " ", make("code", { textContent: one.path })), make("span", { textContent: one.summary })))));
  main.replaceChildren(make("p", { textContent: description.info.summary }),
    make("p", { className: "muted", textContent: `Version ${description.info.version}.` }), contents,
    ...tags.flatMap((tag) => [make("h2", { textContent: tag }),
      ...found.filter(({ tags: [own] }) => own === tag).map((one) => addressNode(one, description))]));
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

function idOf({ method, path }) {
  return `${method}${path.replace(/[^\w]+/g, "-")}`;
}

function methodNode({ method }) {
  return make("span", { className: "method", textContent: method.toUpperCase() });
}

function addressNode(operation, description) {
  const { path, summary, description: more, parameters = [], requestBody, responses } = operation;
  const title = (text) => make("h4", { textContent: text });
  const form = requestBody?.content["multipart/form-data"]?.schema;
  const parts = [make("h3", {}, methodNode(operation), make("code", { textContent: path })), make("p", { textContent: `${summary}. ${more ?? ""}`.replace("?.", "?") })];
  if (parameters.length > 0) {
    const fields = parameters.map(({ name, required, schema, description: about }) => fieldNodes(name, required, schema, about));
    parts.push(title("In the address"), make("dl", { className: "fields" }, ...fields.flat()));
  }
  if (form) {
    const fields = Object.entries(form.properties).map(([name, schema]) => fieldNodes(name, form.required.includes(name), schema, schema.description ?? schema.items?.description));
    parts.push(title("Form (multipart/form-data)"), make("dl", { className: "fields" }, ...fields.flat()));
  }
  parts.push(title("Example"), make("pre", { tabIndex: 0, textContent: curlOf(operation, form) }));
  const isGood = ([status]) => status < "400";
  for (const [status, answer] of Object.entries(responses).filter(isGood)) parts.push(...answerNodes(status, answer, description));
  const refused = Object.entries(responses).filter((entry) => !isGood(entry));
  if (refused.length > 0) {
    const rows = refused.flatMap(([status, { description: about, content }]) => [
      make("dt", {}, make("strong", { textContent: status }), ` ${content?.["application/json"]?.example?.error.code ?? ""}`), make("dd", { textContent: about })]);
    parts.push(make("details", {}, make("summary", { textContent: "Refusals, such as" }), make("dl", { className: "fields" }, ...rows)));
  }
  return make("section", { className: "address", id: idOf(operation) }, ...parts);
}

function fieldNodes(name, required, schema, about = "") {
  const marks = [make("code", { textContent: name }), ` ${kindOf(schema)}`];
  if (required) marks.push(" ", make("span", { className: "required", textContent: "required" }));
  const usual = schema?.default === undefined || schema.default === "" ? "" : ` Default: ${schema.default}.`;
  return [make("dt", {}, ...marks), make("dd", { textContent: `${about}${usual}` })];
}

function kindOf(schema = {}) {
  if (schema.format === "binary") return "file";
  if (schema.items) return schema.items.format === "binary" ? "one or several files" : `list of ${kindOf(schema.items)}`;
  if (schema.enum) return "true or false";
  return { integer: "whole number", number: "number", string: "text", boolean: "true or false" }[schema.type] ?? "";
}

/** How curl asks it. */
function curlOf({ method, path, responses }, form) {
  const address = `${location.origin}${path.replace("{name}", "Kim").replace(/\{\w+\}/g, "ID")}`;
  const words = ["curl"];
  if ("401" in responses) words.push('-H "Authorization: Bearer $KEY"');
  if (method === "delete") words.push("-X DELETE");
  for (const name of form?.required ?? []) {
    const isFile = form.properties[name].format === "binary" || form.properties[name].items;
    words.push(`-F ${name}=${isFile ? `@${name}.wav` : "Kim"}`);
  }
  return `${words.join(" ")} ${address}`;
}

function answerNodes(status, answer, description) {
  const { schema, example } = answer.content?.["application/json"] ?? {};
  if (!schema && example === undefined) return [make("p", { className: "muted", textContent: `Answer: ${status}.` })];
  const nodes = [make("h4", { textContent: `Answer (${status})` })];
  if (example !== undefined) nodes.push(make("pre", { tabIndex: 0, textContent: jsonOf(example) }));
  const meaning = meaningOf(schema, description);
  if (meaning) nodes.push(make("details", {}, make("summary", { textContent: "What stands in it" }), make("pre", { tabIndex: 0, textContent: meaning })));
  return nodes;
}

/** JSON to be read: what is short stands on one line. */
function jsonOf(value, indent = "") {
  const flat = JSON.stringify(value, null, 1).replace(/\n\s*/g, " ").replace(/([[{]) | ([\]}])/g, "$1$2");
  if (value === null || typeof value !== "object" || flat.length + indent.length <= WIDTH) return flat;
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Object.entries(value).map(([name, part]) => `${inner}${Array.isArray(value) ? "" : `${JSON.stringify(name)}: `}${jsonOf(part, inner)}`);
  return `${open}\n${parts.join(",\n")}\n${indent}${close}`;
}

/** What an answer's parts are, as the records of the library say it, and those that lie in them. */
function meaningOf(schema, description, depth = 0, seen = new Set()) {
  const name = refOf(schema);
  if (!name || seen.has(name) || depth > DEPTH) return "";
  seen.add(name);
  const { description: about = "", properties = {} } = description.components.schemas[name];
  const inner = Object.values(properties).map((part) => meaningOf(part, description, depth + 1, seen)).filter(Boolean);
  return [`${name}: ${about}`, ...inner].join("\n\n");
}

/** The name of the record that a part is, or is a list of, or is where it is not null. */
function refOf(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  return [schema.items, ...(schema.anyOf ?? []), ...(schema.prefixItems ?? [])].filter(Boolean).map(refOf).find(Boolean);
}
