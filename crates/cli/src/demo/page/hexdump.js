// Shows a record's bytes, and looks in them for anything that could be read.

import { count, el } from "./view.js";

// Rows shown before somebody asks for all of them.
const FIRST_ROWS = 12;
const wide = matchMedia("(min-width: 40rem)");

export const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

// Byte ranges of a live record, version 1: [class, words, first, end]. None for any other format.
export function layout(bytes) {
  if (bytes.length < 32 || bytes[0] !== 1 || bytes[2] !== 1) return [];
  return [
    ["frame", "version, key id, kind, flags", 0, 4],
    ["nonce", "random nonce", 4, 16],
    ["cipher", "ciphertext", 16, bytes.length - 16],
    ["tag", "tag: no byte can be changed", bytes.length - 16, bytes.length],
  ];
}

// The dump, in rows of 16 bytes, or of 8 where the window is narrow, with a button for the rest.
export function hexdump(bytes) {
  const ranges = layout(bytes);
  const pre = el("pre", "hex");
  pre.setAttribute("role", "img");
  pre.setAttribute("aria-label", `Hex dump of ${count(bytes.length)} bytes without any readable text`);
  const more = el("button", "plain", `Show all ${count(bytes.length)} bytes`);
  more.type = "button";
  more.setAttribute("aria-expanded", "false");
  let all = false;
  const draw = () => {
    const width = wide.matches ? 16 : 8;
    const rows = Math.ceil(bytes.length / width);
    pre.replaceChildren();
    for (let row = 0; row < (all ? rows : Math.min(rows, FIRST_ROWS)); row += 1) {
      pre.append(...line(bytes, row * width, width, ranges));
    }
    more.hidden = rows <= FIRST_ROWS;
  };
  more.addEventListener("click", () => {
    all = !all;
    more.setAttribute("aria-expanded", String(all));
    more.textContent = all ? "Show the first bytes only" : `Show all ${count(bytes.length)} bytes`;
    draw();
  });
  wide.addEventListener("change", draw);
  draw();
  return [pre, more];
}

function line(bytes, start, width, ranges) {
  const row = bytes.subarray(start, start + width);
  const hex = [];
  const text = [];
  row.forEach((byte, index) => {
    const kind = ranges.find(([, , first, end]) => start + index >= first && start + index < end)?.[0] ?? "cipher";
    hex.push(el("span", kind, byte.toString(16).padStart(2, "0")), index === 7 && width > 8 ? "  " : " ");
    text.push(byte > 32 && byte < 127 ? String.fromCharCode(byte) : "·");
  });
  const gap = "   ".repeat(width - row.length) + (row.length < 8 && width > 8 ? " " : "");
  return [el("span", "off", start.toString(16).padStart(4, "0")), "  ", ...hex, gap, " ", el("span", "off", text.join("")), "\n"];
}

// Which of these texts occur in the bytes, or in the key, of any record.
export function found(texts, records) {
  const haystacks = records.flatMap(({ key, bytes }) => [key, String.fromCharCode(...bytes)]);
  return texts.filter((text) => haystacks.some((haystack) => haystack.includes(text)));
}
