// Runs the program of a page without a browser: a document that holds just what the program asks for.
// Usage: node page_in_node.js PAGE SCRIPT, where SCRIPT may use the program's functions and prints what it finds.

const { readFileSync } = require("node:fs");
const vm = require("node:vm");

class Node_ {
  constructor(name) { Object.assign(this, { nodeName: name.toUpperCase(), children: [], attributes: {}, style: {}, dataset: {}, listeners: {}, hidden: false }); }
  append(...nodes) { this.children.push(...nodes.map((node) => (node instanceof Node_ ? node : String(node)))); }
  replaceChildren(...nodes) { this.children = []; this.append(...nodes); }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = String(value);
  }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  getContext() { return { drawImage() {} }; }
  scrollIntoView() {}
  focus() {}
  get textContent() { return this.children.map((child) => child.textContent ?? child).join(""); }
  set textContent(text) { this.children = text === "" ? [] : [String(text)]; }
  get all() { return this.children.filter((child) => child instanceof Node_).flatMap((child) => [child, ...child.all]); }
  querySelector(name) { return this.all.find((node) => node.nodeName === name.toUpperCase()); }
}

const page = readFileSync(process.argv[2], "utf-8");
const ids = Object.fromEntries([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => [id, new Node_("div")]));
const sections = [...page.matchAll(/<section id="([^"]+)"><h2>([^<]+)</g)].map(([, id, title]) => {
  const heading = new Node_("h2");
  heading.append(title);
  ids[id].id = id;
  ids[id].append(heading);
  return ids[id];
});
ids.data.append(page.match(/id="data">([^<]*)</)[1]);
const charts = new Node_("div");
const everything = () => Object.values(ids).flatMap((node) => [node, ...node.all]);
const document = {
  getElementById: (id) => ids[id] ?? everything().find((node) => node.attributes.id === id) ?? null,
  createElement: (name) => new Node_(name),
  createElementNS: (space, name) => new Node_(name),
  querySelector: () => charts,
  querySelectorAll: (what) => {
    if (what === "main > section") return sections;
    if (what === "[data-plane]") return everything().filter((node) => "plane" in node.dataset);
    return ids["mistakes-tiles"].children;
  },
};
const program = page.match(/<script>\n([\s\S]*)\n<\/script>/)[1];
vm.runInNewContext(`${program}\n${process.argv[3]}`, { document, Node: Node_, Image: class {}, console, charts });
