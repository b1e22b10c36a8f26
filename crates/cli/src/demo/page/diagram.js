// Moves chips along the diagram's lines and lights what took part in a step.

const SVG = "http://www.w3.org/2000/svg";
const LEG_MS = 650;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Each step: legs in order; chips of one leg move together. [chip, edge, "in" to the gateway or "out"].
const STEPS = {
  token: {
    caption: "The JWT came from the provider. Its signature went to the client; the rest, sealed, into the store.",
    legs: [[["dot", "client", "in"]], [["dot", "provider", "out"]], [["jwt", "provider", "in"]], [["signature", "client", "out"], ["sealed", "store", "out"]]],
  },
  call: {
    caption: "The signature came from the client, the sealed part from the store. The whole JWT went to the API.",
    legs: [[["signature", "client", "in"]], [["sealed", "store", "in"]], [["jwt", "api", "out"]]],
  },
  store: { caption: "Nothing moved. You looked at what lies in the store.", legs: [], nodes: ["store"], edges: ["store"] },
  cheat: {
    caption: "The request ended at the gateway. Neither the API nor the provider heard of it.",
    legs: [[["bad", "client", "in"]]], refused: true,
  },
};

const svg = document.getElementById("diagram");
const caption = document.getElementById("caption");
let turn = 0;

// Plays a step by name. A later call takes over from one that still runs.
export async function play(name) {
  const step = STEPS[name];
  const mine = (turn += 1);
  light(name, step);
  caption.textContent = step.caption;
  if (calm.matches || step.legs.length === 0) return;
  svg.classList.add("moving");
  for (const leg of step.legs) {
    await Promise.all(leg.map(move));
    if (mine !== turn) return;
  }
  svg.classList.remove("moving");
}

function light(name, { legs, nodes = [], edges = [], refused = false }) {
  const used = new Set([...edges, ...legs.flat().map(([, edge]) => edge)]);
  const lit = new Set([...nodes, ...used]);
  svg.dataset.step = name;
  svg.classList.remove("moving");
  svg.classList.toggle("refused", refused);
  for (const part of svg.querySelectorAll("[data-edge], [data-node], [data-at]")) {
    const { edge, node, at } = part.dataset;
    const isLit = node ? lit.has(node) : used.has(edge ?? at) && !(refused && at);
    part.classList.toggle("lit", isLit);
  }
}

async function move([kind, edge, direction]) {
  const path = svg.querySelector(`[data-edge=${edge}]`);
  const chip = draw(kind);
  svg.append(chip);
  const length = path.getTotalLength();
  // The client's line runs towards the gateway, the others away from it.
  const forward = (edge === "client") === (direction === "in");
  const frames = Array.from({ length: 9 }, (_, index) => {
    const { x, y } = path.getPointAtLength(length * (forward ? index : 8 - index) / 8);
    return { transform: `translate(${x}px, ${y}px)` };
  });
  await chip.animate(frames, { duration: LEG_MS, easing: "ease-in-out", fill: "both" }).finished;
  chip.remove();
}

// A chip of its own, at the start of the drawing's coordinates: a copy of one that rests on a line.
function draw(kind) {
  const resting = svg.querySelector(`[data-chip=${kind === "bad" ? "signature" : kind}]`);
  const group = document.createElementNS(SVG, "g");
  group.setAttribute("class", `chips ${kind}`);
  const chip = resting?.cloneNode(true) ?? document.createElementNS(SVG, "circle");
  for (const name of ["transform", "data-at", "data-chip"]) chip.removeAttribute(name);
  if (!resting) chip.setAttribute("r", "5");
  chip.setAttribute("class", "lit z");
  group.append(chip);
  return group;
}
