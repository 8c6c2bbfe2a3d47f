"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const { run, images, planes } = page;
const names = run.classes;
const isRegression = run.targets.length > 0; // numbers are predicted in place of classes
const count = images.labels.length;
const tileOf = new Map(images.shown.map((position, tile) => [position, tile]));
const LARGEST_MATRIX = 30; // classes; for more classes, the pairs confused most often are listed
const PAIRS = 60;
let pruned = null; // the place in planes.numbers of the plane that is pruned now
let current = 0; // the place in page.chosen of the image that is looked into

// ---------------------------------------------------------------------------------------------------- small helpers

/** Make an element. Text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") element.addEventListener("click", value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function drawn(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const byId = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;
const exactPercent = (share) => `${(100 * share).toFixed(2)} %`;
const signed = (value) => (value === null ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${brief(Math.abs(value))}`);
const noun = run.noun;
const imagesOf = (n) => `${n.toLocaleString("en")} ${n === 1 ? noun.slice(0, -1) : noun}`;

function brief(value) {
  if (value === null) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.001 && size < 10000 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

const sheets = new Map();

/** Draw a picture of a sprite on a canvas, with a label that says in words what it shows. */
function picture(sprite, tile, width, label, smooth = false) {
  const height = Math.max(1, Math.round((width * sprite.height) / sprite.width));
  const canvas = make("canvas", { width, height, role: "img", "aria-label": label, title: label });
  canvas.style.width = `${width}px`;
  const paint = (sheet) => {
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = smooth;
    const x = (tile % sprite.columns) * sprite.width;
    const y = Math.floor(tile / sprite.columns) * sprite.height;
    context.drawImage(sheet, x, y, sprite.width, sprite.height, 0, 0, width, height);
  };
  if (!sheets.has(sprite)) {
    const sheet = new Image();
    sheets.set(sprite, new Promise((resolve) => { sheet.onload = () => resolve(sheet); }));
    sheet.src = sprite.png;
  }
  sheets.get(sprite).then(paint);
  return canvas;
}

function table(heads, rows, name) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...cells]) => make("tr", {}, make("th", { scope: "row" }, first),
    ...cells.map((cell) => (cell instanceof Node && cell.nodeName === "TD" ? cell : make("td", {}, cell)))));
  return make("div", { class: "scroll" }, make("table", { "aria-label": name }, make("thead", {}, head), make("tbody", {}, ...body)));
}

/** Make a labeled list of choices that calls `chosen` with the number of the choice. */
function choice(label, options, chosen) {
  const select = make("select", {}, ...options.map((text, i) => make("option", { value: i }, text)));
  select.addEventListener("change", () => chosen(Number(select.value)));
  return [make("label", {}, label, select), select];
}

/** The predicted class of every image, with the plane that is pruned now or without any. */
function predictions(place = pruned) {
  const found = [...images.predicted];
  const changed = place === null ? [] : planes.changed[place];
  for (let i = 0; i < changed.length; i += 2) found[changed[i]] = changed[i + 1];
  return found;
}

/** A value of the headline score, accuracy or R². */
const scoreText = (value) => (value == null ? "–" : run.score.percent ? exactPercent(value) : value.toFixed(4));
const labelOf = (position) => (isRegression ? images.labels[position].map(brief).join(", ") : names[images.labels[position]]);

const accuracyOf = (predicted) => predicted.filter((label, i) => label === images.labels[i]).length / count;
const accuracies = planes ? planes.numbers.map((_, place) => accuracyOf(predictions(place))) : [];
const accuracy = accuracyOf(images.predicted);

// ------------------------------------------------------------------------------------------------------------- head

function showFacts() {
  const size = run.size.join("×");
  const looks = page.looks === null ? "" : `; this is look ${page.looks} of this run at its test images`;
  byId("facts").append(
    `${run.network}, ${run.parameters.toLocaleString("en")} parameters, ${run.weights} weights of ${run.folder}. `,
    `${run.data} ${run.split}: ${imagesOf(count)} of ${size}, ${isRegression ? "R² " : "accuracy "}`,
    make("strong", {}, isRegression ? images.scores.map((found) => scoreText(found["R²"])).join(", ") : exactPercent(accuracy)), `${looks}.`);
  const left = isRegression ? ["confusion", "mistakes", "decision", "planes"] : ["numbers"];
  for (const id of left) byId(id).hidden = true;
  for (const section of document.querySelectorAll("main > section")) {
    if (section.hidden) continue;
    byId("contents").append(make("a", { href: `#${section.id}` }, section.querySelector("h2").textContent));
  }
}

const COLORS = ["var(--first)", "var(--second)", "var(--third)"];

function chart(title, series, key, asPercent) {
  const all = series.flatMap((s) => s[key]).filter((v) => v !== null);
  const last = Math.max(...series.flatMap((s) => s.epochs), 1);
  let low = Math.min(...all);
  let high = Math.max(...all);
  if (high === low) [low, high] = asPercent ? [0, 1] : [low - 0.5, high + 0.5];
  const [width, height, left, bottom] = [360, 220, 48, 26];
  const x = (epoch) => left + ((epoch - 1) / Math.max(1, last - 1)) * (width - left - 10);
  const y = (value) => 10 + ((high - value) / (high - low)) * (height - bottom - 20);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} by epoch` });
  for (let i = 0; i <= 4; i++) {
    const value = low + ((high - low) * i) / 4;
    svg.append(drawn("line", { class: "axis", x1: left, x2: width - 10, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, asPercent ? percent(value) : brief(value)));
  }
  for (const epoch of new Set([1, Math.round((1 + last) / 2), last])) {
    svg.append(drawn("text", { x: x(epoch), y: height - 8, "text-anchor": epoch === last && last > 1 ? "end" : "middle" }, String(epoch)));
  }
  series.forEach((s, i) => {
    const points = s.epochs.map((epoch, k) => [x(epoch), s[key][k]]).filter(([, v]) => v !== null).map(([px, v]) => [px, y(v)]);
    const line = drawn("polyline", { class: "line", points: points.map((p) => p.join(",")).join(" ") });
    line.style.stroke = COLORS[i];
    svg.append(line);
    for (const [px, py] of points.length < 40 ? points : []) {
      const dot = drawn("circle", { cx: px, cy: py, r: 2.5 });
      dot.style.fill = COLORS[i];
      svg.append(dot);
    }
  });
  return make("figure", {}, make("h3", {}, `${title} by epoch`), svg);
}

function showCurves() {
  const box = document.querySelector("#curves .charts");
  if (!run.curves.length) {
    box.append(make("p", {}, "The folder holds no metrics of the training (metrics.jsonl), so there are no curves."));
    return;
  }
  box.append(chart("Loss", run.curves, "loss", false), chart(isRegression ? run.score.title : "Accuracy", run.curves, run.score.name, run.score.percent));
  const legend = make("p", { class: "note" });
  run.curves.forEach((s, i) => {
    const key = make("span", { class: "key" });
    key.style.background = COLORS[i];
    legend.append(key, `${s.name}   `);
  });
  const rows = run.curves[0].epochs.map((epoch, k) => [String(epoch),
    ...run.curves.flatMap((s) => [brief(s.loss[k] ?? null), scoreText(s[run.score.name][k])])]);
  const heads = ["epoch", ...run.curves.flatMap((s) => [`loss, ${s.name}`, `${run.score.title}, ${s.name}`])];
  byId("curves").append(legend, make("details", {}, make("summary", {}, "The numbers"), table(heads, rows, "Curves")));
}

// -------------------------------------------------------------------------------------------------------- confusion

function confusionOf(predicted) {
  const cells = new Map();
  predicted.forEach((label, i) => {
    const key = images.labels[i] * names.length + label;
    cells.set(key, (cells.get(key) ?? 0) + 1);
  });
  return cells;
}

/** A button for a cell of the matrix, with what pruning changed. */
function cellButton(row, column, after, before, largest, words) {
  const key = row * names.length + column;
  const [now, then] = [after.get(key) ?? 0, before.get(key) ?? 0];
  const label = `${names[row]} taken for ${names[column]}: ${imagesOf(now)}`;
  const button = make("button", {
    class: row === column ? "right" : null, "aria-label": label, title: label, click: () => showCell(row, column),
  }, words ? label : String(now));
  if (!words) button.style.backgroundColor = `rgba(var(--cell), ${(0.55 * now) / largest})`;
  if (now !== then) {
    const better = (now > then) === (row === column);
    button.append(make("span", { class: `change ${better ? "good" : "bad"}` }, `${words ? " " : ""}${now > then ? "+" : "−"}${Math.abs(now - then)}`));
  }
  return button;
}

function showMatrix() {
  const before = confusionOf(images.predicted);
  const after = confusionOf(predictions());
  const largest = Math.max(...after.values(), 1);
  const box = byId("matrix");
  box.replaceChildren();
  if (names.length > LARGEST_MATRIX) {
    const wrong = [...after].filter(([key]) => Math.floor(key / names.length) !== key % names.length);
    wrong.sort((a, b) => b[1] - a[1]);
    box.append(make("p", { class: "note" }, `${names.length} classes: the ${Math.min(PAIRS, wrong.length)} pairs confused most often.`),
      make("div", { class: "side" }, ...wrong.slice(0, PAIRS).map(([key]) => cellButton(Math.floor(key / names.length), key % names.length, after, before, largest, true))));
    return;
  }
  const head = make("tr", {}, make("td"), ...names.map((name) => make("th", { scope: "col", title: name }, name)));
  const rows = names.map((name, row) => make("tr", {}, make("th", { scope: "row", title: name }, name),
    ...names.map((_, column) => {
      const key = row * names.length + column;
      const empty = !after.has(key) && !before.has(key);
      return make("td", {}, empty ? make("span", { class: "faint" }, "·") : cellButton(row, column, after, before, largest, false));
    })));
  box.append(make("table", { class: "matrix", "aria-label": "Confusion matrix" }, make("thead", {}, head), make("tbody", {}, ...rows)));
}

/** A picture of an image, or the first numbers of a sequence or row. */
function example(position, width) {
  const tile = tileOf.get(position);
  const label = `#${position}, ${labelOf(position)}`;
  return images.sprite ? picture(images.sprite, tile, width, label) : make("code", {}, images.texts[tile]);
}

function imageTile(position, words, click) {
  const parts = [example(position, 88), make("span", {}, `#${position}`), ...words.map((text) => make("span", {}, text))];
  return click ? make("button", { class: "tile", click }, ...parts) : make("figure", { class: "tile" }, ...parts);
}

/** A tile that leads to the image's decision if it can be looked into. */
function linkedTile(position, words) {
  const place = page.chosen.indexOf(position);
  return imageTile(position, words, place < 0 ? null : () => look(place, true));
}

function showCell(row, column) {
  const predicted = predictions();
  const members = predicted.map((label, i) => i).filter((i) => images.labels[i] === row && predicted[i] === column);
  const shown = members.filter((i) => tileOf.has(i));
  const less = shown.length < members.length ? ` Shown are the ${shown.length} that this page contains; --images N includes more.` : "";
  byId("cell").replaceChildren(
    make("h3", {}, `${names[row]} taken for ${names[column]}`),
    make("p", { class: "note" }, `${imagesOf(members.length)}.${less}`),
    make("div", { class: "tiles" }, ...shown.map((i) => linkedTile(i, pruned === null ? [percent(images.confidence[i])] : []))));
}

// ---------------------------------------------------------------------------------------------------------- numbers

const MOST_POINTS = 2000;
const BARS = 25;

/** True numbers across, predicted ones up, and the line on which they are equal. */
function scatter(target) {
  const step = Math.ceil(count / MOST_POINTS);
  const pairs = images.labels.map((row, i) => [row[target], images.predicted[i][target], i]).filter(([, , i]) => i % step === 0);
  const all = pairs.flatMap(([true_, predicted]) => [true_, predicted]);
  let [low, high] = [Math.min(...all), Math.max(...all)];
  if (high === low) [low, high] = [low - 0.5, high + 0.5];
  const [width, height, left, bottom] = [360, 300, 52, 36];
  const x = (value) => left + ((value - low) / (high - low)) * (width - left - 10);
  const y = (value) => 10 + ((high - value) / (high - low)) * (height - bottom - 20);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Predicted against true ${run.targets[target]}` });
  for (let i = 0; i <= 4; i++) {
    const value = low + ((high - low) * i) / 4;
    svg.append(drawn("line", { class: "axis", x1: left, x2: width - 10, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, brief(value)));
    svg.append(drawn("text", { x: x(value), y: height - 20, "text-anchor": "middle" }, brief(value)));
  }
  svg.append(drawn("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "true"));
  const line = drawn("polyline", { class: "line", points: `${x(low)},${y(low)} ${x(high)},${y(high)}` });
  line.style.stroke = COLORS[1];
  svg.append(line);
  for (const [true_, predicted, i] of pairs) {
    const dot = drawn("circle", { cx: x(true_), cy: y(predicted), r: 2.5 });
    dot.style.fill = COLORS[0];
    dot.style.opacity = "0.6";
    dot.append(drawn("title", {}, `#${i}: true ${brief(true_)}, predicted ${brief(predicted)}`));
    svg.append(dot);
  }
  return make("figure", {}, make("h3", {}, "Predicted (up) against true"), svg);
}

/** How many residuals, predicted minus true, fall into equal intervals. */
function residuals(target) {
  const found = images.labels.map((row, i) => images.predicted[i][target] - row[target]);
  const largest = Math.max(...found.map(Math.abs)) || 1;
  const bins = new Array(BARS).fill(0);
  for (const value of found) bins[Math.min(BARS - 1, Math.floor(((value + largest) / (2 * largest)) * BARS))] += 1;
  const [width, height, left, bottom] = [360, 300, 52, 36];
  const most = Math.max(...bins);
  const step = (width - left - 10) / BARS;
  const y = (value) => 10 + ((most - value) / most) * (height - bottom - 20);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Residuals of ${run.targets[target]}` });
  for (const value of new Set([0, Math.round(most / 2), most])) {
    svg.append(drawn("line", { class: "axis", x1: left, x2: width - 10, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  bins.forEach((size, i) => svg.append(drawn("rect", { class: "bin", x: left + i * step, y: y(size), width: step * 0.9, height: y(0) - y(size) })));
  [-largest, 0, largest].forEach((value, i) => svg.append(drawn("text", { x: left + (i * (width - left - 10)) / 2, y: height - 20, "text-anchor": ["start", "middle", "end"][i] }, signed(value))));
  svg.append(drawn("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "predicted minus true"));
  return make("figure", {}, make("h3", {}, `Residuals of ${imagesOf(count)}`), svg);
}

function showNumbers() {
  const box = byId("numbers-body");
  const body = make("div");
  const fill = (target) => body.replaceChildren(
    make("p", {}, Object.entries(images.scores[target]).map(([name, value]) => `${name} ${brief(value)}`).join(", "),
      ". RMSE and MAE are in the target's units; R² is 1 for a perfect prediction and 0 for the mean of the true numbers."),
    make("div", { class: "charts" }, scatter(target), residuals(target)));
  if (run.targets.length > 1) box.append(choice("Target", run.targets, fill)[0]);
  fill(0);
  const rows = page.chosen.map((i) => [`#${i}`, make("td", { class: "words" }, example(i, 64)),
    ...run.targets.flatMap((_, k) => [brief(images.labels[i][k]), brief(images.predicted[i][k]), signed(images.predicted[i][k] - images.labels[i][k])])]);
  const heads = run.targets.flatMap((name) => (run.targets.length > 1 ? [`true ${name}`, `predicted ${name}`, "residual"] : ["true", "predicted", "residual"]));
  box.append(body, make("h3", {}, "Largest errors"), make("p", { class: "note" }, `Picked ${noun} come first; --mistakes sets how many follow.`),
    table(["", noun.slice(0, -1), ...heads], rows, "Largest errors"));
}

// --------------------------------------------------------------------------------------------------------- mistakes

function showMistakes() {
  const wrong = images.predicted.filter((label, i) => label !== images.labels[i]).length;
  const others = page.chosen.some((i) => images.predicted[i] === images.labels[i]);
  const also = others ? " Some right predictions are shown too: those that were picked, or the least certain ones." : "";
  byId("mistakes-note").textContent = wrong
    ? `${imagesOf(wrong)} of ${count.toLocaleString("en")} ${wrong === 1 ? "is" : "are"} predicted wrongly. Below are the most confident mistakes; choose one to see its reasons.${also}`
    : `None of ${imagesOf(count)} is predicted wrongly. Below are some right predictions: those that were picked, or the least certain ones.`;
  byId("mistakes-tiles").append(...page.chosen.map((position, place) => imageTile(position, [
    `${names[images.predicted[position]]} ${percent(images.confidence[position])}`,
    images.predicted[position] === images.labels[position] ? "right" : `is ${names[images.labels[position]]}`,
  ], () => look(place, true))));
}

// --------------------------------------------------------------------------------------------------------- decision

function look(place, scroll) {
  current = place;
  document.querySelectorAll("#mistakes-tiles > *").forEach((tile, i) => tile.setAttribute("aria-pressed", String(i === place)));
  showDecision();
  if (scroll) {
    byId("decision").scrollIntoView();
    byId("decision-heading")?.focus({ preventScroll: true });
  }
}

function overlay(place, side, name) {
  const { decisions } = planes;
  const position = page.chosen[place];
  const base = decisions.crops ? picture(decisions.crops, place, 160, `#${position}`) : example(position, 160);
  const heat = picture(decisions.heat, 2 * place + side, 160, `${decisions.method} of ${name}`, true);
  heat.style.height = `${base.height}px`;
  return make("figure", {}, make("div", { class: "stack" }, base, heat), make("figcaption", {}, `${decisions.method} for ${name}${decisions.empty[place][side] ? ": nothing speaks for it" : ""}`));
}

function bar(value, largest, kind) {
  const line = make("div", { class: `bar ${kind}` });
  const share = largest ? (50 * Math.abs(value)) / largest : 0;
  line.style.width = `${share}%`;
  line.style.marginLeft = `${value < 0 ? 50 - share : 50}%`;
  return line;
}

function pruneButton(place) {
  const number = planes.numbers[place];
  return make("button", { "aria-pressed": String(pruned === place), "data-plane": place, click: () => prune(pruned === place ? null : place) }, `prune ${number}`);
}

function contributionRow(place, plane, largest) {
  const { decisions } = planes;
  const number = planes.numbers[plane];
  const [wrong, right] = decisions.amounts[place][plane];
  const map = picture(decisions.maps, place * planes.numbers.length + plane, 40, `map of plane ${number}`);
  const bars = make("td", {}, make("div", { class: "bars", "aria-hidden": "true" }, bar(wrong, largest, "wrong"), bar(right, largest, "true")));
  const best = planes.exciting.tiles[plane].filter((_, i) => planes.exciting.means[plane][i] !== 0).slice(0, 3);
  const exciting = make("div", { class: "row" }, ...best.map((tile) =>
    picture(planes.exciting.sprite, tile, 32, `training image, ${names[planes.exciting.labels[tile]]}`)));
  const typical = `${brief(decisions.responses[place][plane])} (${brief(planes.activity[plane])})`;
  return [`plane ${number}`, map, typical, signed(wrong), signed(right), signed(wrong - right), bars, make("td", {}, exciting), pruneButton(plane)];
}

function showDecision() {
  const box = byId("decision-body");
  const position = page.chosen[current];
  const [predicted, label] = [images.predicted[position], images.labels[position]];
  const verdict = predicted === label ? `${names[label]}, which is right` : `${names[predicted]}, but it is ${names[label]}`;
  const heading = make("h3", { id: "decision-heading", tabindex: "-1" }, `#${position}: ${verdict}`);
  if (!planes) {
    box.replaceChildren(heading, example(position, 160), make("p", {}, WITHOUT_MAPS));
    return;
  }
  const { decisions } = planes;
  const [rival, right] = planes.classes[current].map((k) => names[k]);
  const [wrongLogit, rightLogit] = decisions.logits[current];
  const order = planes.numbers.map((_, i) => i).sort((a, b) => difference(b) - difference(a));
  const largest = Math.max(...decisions.amounts[current].flat().map(Math.abs), 1e-30);
  const rest = [["other planes", decisions.others[current]], ["biases and the rest", decisions.rest[current]], ["sum: the logit", [wrongLogit, rightLogit]]]
    .filter(([name]) => name !== "other planes" || planes.numbers.length < planes.count)
    .map(([name, [a, b]]) => [name, "", "", signed(a), signed(b), signed(a - b), "", "", ""]);
  const heads = ["", "map", "response (usual)", `adds to ${rival}`, `adds to ${right}`, "difference", "", "training images", ""];
  const body = make("div");
  const fill = (limit) => body.replaceChildren(
    table(heads, [...order.slice(0, limit).map((plane) => contributionRow(current, plane, largest)), ...rest], "Contributions of the planes"),
    ...(limit < order.length ? [make("button", { click: () => fill(order.length) }, `all ${order.length} planes`)] : []));
  fill(10);
  box.replaceChildren(heading,
    make("div", { class: "side" }, overlay(current, 0, rival), overlay(current, 1, right)),
    make("p", {}, `The network's logits are ${brief(wrongLogit)} for `, key("wrong"), `${rival} and ${brief(rightLogit)} for `, key("true"), `${right}. Each plane of ${planes.layer} adds its part, and the parts sum to the logit. Planes are in the order of the difference: the first ones speak most for ${rival}.`),
    body);
  function difference(i) {
    return decisions.amounts[current][i][0] - decisions.amounts[current][i][1];
  }
}

function key(kind) {
  const mark = make("span", { class: "key" });
  mark.style.background = kind === "wrong" ? "var(--second)" : "var(--first)";
  return mark;
}

// ----------------------------------------------------------------------------------------------------------- planes

const WITHOUT_MAPS = "This network has no maps of images with more than one pixel, so class activation maps, contributions of planes and pruning do not apply.";

function prune(place) {
  pruned = place;
  document.querySelectorAll("[data-plane]").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.plane) === pruned)));
  byId("cell").replaceChildren();
  showMatrix();
  const box = byId("pruned");
  box.hidden = pruned === null;
  if (pruned === null) {
    box.replaceChildren();
    return;
  }
  const after = predictions();
  const gained = after.filter((label, i) => label === images.labels[i] && images.predicted[i] !== label).length;
  const lost = after.filter((label, i) => label !== images.labels[i] && images.predicted[i] === images.labels[i]).length;
  box.replaceChildren(
    make("span", {}, `Without plane ${planes.numbers[pruned]}: accuracy ${exactPercent(accuracy)} → `, make("strong", {}, exactPercent(accuracies[pruned])),
      `; ${imagesOf(gained)} now right, ${lost.toLocaleString("en")} now wrong. `),
    make("a", { href: "#confusion" }, "Confusion"),
    make("button", { click: () => prune(null) }, "Undo"));
}

const ORDERS = [
  ["number", (a, b) => planes.numbers[a] - planes.numbers[b]],
  ["accuracy without it, lowest first", (a, b) => accuracies[a] - accuracies[b]],
  ["accuracy without it, highest first", (a, b) => accuracies[b] - accuracies[a]],
  ["mean activity", (a, b) => planes.activity[b] - planes.activity[a]],
];

function planeTile(place) {
  const change = accuracies[place] - accuracy;
  const kind = change > 0 ? "good" : change < 0 ? "bad" : "faint";
  const { exciting } = planes;
  const silent = exciting.means[place].every((mean) => mean === 0);
  const rows = (silent ? [] : exciting.tiles[place]).map((tile, i) => picture(exciting.sprite, tile, 44,
    `training image, ${names[exciting.labels[tile]]}, mean ${brief(exciting.means[place][i])}`));
  return make("figure", { class: "panel" }, make("h3", {}, `Plane ${planes.numbers[place]}`),
    make("div", { class: "tiles" }, ...rows.map((canvas) => { const box = make("span", {}, canvas); box.style.width = "auto"; return box; })),
    make("p", { class: "note" }, silent ? "silent on all training images; " : "", `mean ${brief(planes.activity[place])}; without it `, make("span", { class: kind }, `${exactPercent(accuracies[place])} (${change > 0 ? "+" : change < 0 ? "−" : "±"}${(100 * Math.abs(change)).toFixed(2)})`)),
    pruneButton(place));
}

function showPlanes() {
  const box = byId("planes-body");
  if (!planes) {
    box.append(make("p", {}, WITHOUT_MAPS));
    return;
  }
  const some = planes.numbers.length < planes.count ? ` Shown are the ${planes.numbers.length} most active; --planes shows more.` : "";
  const panels = make("div", { class: "panels" });
  const fill = (which) => panels.replaceChildren(...planes.numbers.map((_, i) => i).sort(ORDERS[which][1]).map(planeTile));
  const [label] = choice("Order by", ORDERS.map(([name]) => name), fill);
  box.append(
    make("p", {}, `${planes.layer}: ${planes.count} planes of ${planes.size}.${some} Each plane is shown with the training images on which its mean is highest, found among ${planes.exciting.searched.toLocaleString("en")} of ${planes.exciting.images.toLocaleString("en")} images. Pruning sets a plane to zero; the confusion matrix then shows the network without it.`),
    label, panels);
  fill(0);
}

// -------------------------------------------------------------------------------------- filters, maps, distributions

function showFilters() {
  const { filters } = page;
  const box = byId("filters-body");
  if (filters.why) {
    box.append(make("p", {}, filters.why));
    return;
  }
  const width = Math.min(96, Math.max(40, filters.sprite.width * 2));
  box.append(make("p", {}, `${filters.layer}: ${filters.size}. Gray is a weight of 0; each filter has its own scale.${filters.sprite.count < filters.count ? ` Shown are the first ${filters.sprite.count}.` : ""}`),
    make("div", { class: "tiles" }, ...Array.from({ length: filters.sprite.count }, (_, i) => {
      const tile = make("figure", {}, picture(filters.sprite, i, width, `filter ${i}`));
      tile.style.width = "auto";
      return tile;
    })));
}

function showFeatures() {
  const box = byId("features-body");
  const { features } = page;
  if (!features.length) {
    box.append(make("p", {}, "No layer of this network has maps of more than one pixel."));
    return;
  }
  const shown = page.chosen.slice(0, features[0].sprite.count / features[0].planes);
  const layers = make("div");
  const fill = (which) => layers.replaceChildren(
    example(shown[which], 96),
    ...features.map(({ layer, size, planes: number, range, sprite }) => {
      const tiles = Array.from({ length: number }, (_, i) => {
        const tile = make("figure", {}, picture(sprite, which * number + i, 56, `${layer}, plane ${i}`));
        tile.style.width = "auto";
        return tile;
      });
      return make("div", {}, make("h3", {}, layer), make("p", { class: "note" }, `${size}; from ${brief(range[which][0])} (dark) to ${brief(range[which][1])} (bright)`), make("div", { class: "tiles" }, ...tiles));
    }));
  const [label] = choice("Image", shown.map((position) => `#${position}, ${labelOf(position)}`), fill);
  box.append(make("p", {}, `At most 16 layers are shown, and at most 16 planes of each. Choose images with --pick.`), label, layers);
  fill(0);
}

function histogram(found, kind, name) {
  if (!found) return make("td", {}, "none");
  const [width, height] = [150, 44];
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name} from ${brief(found.low)} to ${brief(found.high)}` });
  const step = width / Math.max(1, found.counts.length);
  found.counts.forEach((bin, i) => {
    const size = (bin / 1000) * (height - 14);
    svg.append(drawn("rect", { class: `bin ${kind}`, x: i * step, y: height - 14 - size, width: step * 0.9, height: size }));
  });
  svg.append(drawn("text", { x: 0, y: height - 2 }, brief(found.low)), drawn("text", { x: width, y: height - 2, "text-anchor": "end" }, brief(found.high)));
  svg.style.width = "9.5rem";
  const lost = found.lost ? `, ${found.lost} not finite` : "";
  return make("td", {}, svg, make("span", { class: "note" }, `rms ${brief(found.rms)}, zeros ${percent(found.zeros)}${lost}`));
}

function showHistograms() {
  const box = byId("histograms-body");
  const { epochs, images: counted, problems, trained } = page.histograms;
  const known = epochs.map((entry) => entry.epoch).filter((epoch) => epoch);
  const kept = known.length && known.length < trained ? ` The run has kept the weights of ${known.length === 1 ? "epoch" : "epochs"} ${known.join(", ")} out of ${trained}; those of the other epochs were not kept.` : "";
  box.append(make("p", {}, `Values of each layer and gradients of the loss with respect to them, on ${imagesOf(counted)} in evaluation mode. Zeros are counted separately.${kept}`));
  for (const problem of problems) box.append(make("p", { class: "bad" }, problem));
  const body = make("div");
  const fill = (which) => body.replaceChildren(table(["layer", "values", "gradients"], epochs[which].layers.map((row) =>
    [row.layer, histogram(row.output, "", "values"), histogram(row.gradient, "second", "gradients")]), "Histograms"));
  const [label, select] = choice("Weights of", epochs.map((entry) => entry.label), fill);
  const used = epochs.findIndex((entry) => entry.used);
  select.value = String(used);
  box.append(label, body);
  fill(used);
}

function showUnits() {
  const { layers, images: used } = page.units;
  const dead = layers.filter((row) => row.dead);
  const box = byId("units-body");
  box.append(make("p", {}, `Units (planes of maps, neurons of dense layers) with the same value at every position of ${imagesOf(used)}: they carry no information. After a ReLU, this value is 0.`));
  if (!dead.length) {
    box.append(make("p", { class: "good" }, `None in ${layers.length} layers.`));
    return;
  }
  box.append(table(["layer", "units", "dead", "of these always 0", "which"], dead.map((row) =>
    [row.layer, String(row.units), String(row.dead), String(row.zero), make("td", { class: "words" }, row.list.join(", ") + (row.list.length < row.dead ? " …" : ""))]), "Dead units"),
  make("p", { class: "note" }, `Layers without dead units: ${layers.length - dead.length}.`));
}

showFacts();
showCurves();
if (isRegression) {
  showNumbers();
} else {
  showMatrix();
  showMistakes();
  showPlanes();
  look(0, false);
}
showFilters();
showFeatures();
showHistograms();
showUnits();
