// Step 3: the store's records, and a real search for anything that should not be in them.

import { bytesOf, found, hexdump, layout } from "./hexdump.js";
import { count, el, facts, parts } from "./view.js";

// Older records that can be unfolded; a demo that runs for long has more.
const OLDER = 4;

// Fills `place` and returns the sentence that says what is there.
export function showRecords(place, entries, { jwt, setup }) {
  if (entries === null) {
    place.replaceChildren(elsewhere(setup.store));
    return `The records lie in ${setup.store}, where this page may not look. In a terminal you can.`;
  }
  if (entries.length === 0) {
    place.replaceChildren(el("p", "empty", "No record. Get a token in step 1 and look again."));
    return "The store is empty: every token has expired.";
  }
  const records = entries.map((entry) => ({ ...entry, bytes: bytesOf(entry.value) }));
  const { list, hits } = search(jwt, records);
  const [newest, ...older] = records;
  place.replaceChildren(list, record(newest), ...older.slice(0, OLDER).map(folded));
  if (older.length > OLDER) place.append(el("p", "who", `And ${count(older.length - OLDER)} more like these.`));
  const size = records.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const what = records.length === 1 ? "one record" : `${count(records.length)} records`;
  return hits === 0
    ? `The store holds ${what}, ${count(size)} bytes in all, and nothing that a thief could read.`
    : `The store holds ${what}, and ${hits} readable ${hits === 1 ? "text" : "texts"}. That should not be.`;
}

// Commands that look into a Redis, as a thief would who got a copy of it.
function elsewhere(store) {
  const redis = `redis-cli -u ${store}`;
  const names = `${redis} --scan --pattern 'st1:*'`;
  return el("div", "panel", el("h3", "", "Look there yourself"),
    el("p", "who", "The names of all records:"),
    el("pre", "commands", names),
    el("p", "who", "The bytes of one of them:"),
    el("pre", "commands", `${names} | head -n 1 | xargs ${redis} GET | od -t x1`),
    el("p", "who", "Add --user, --askpass or --cacert where your Redis wants them."));
}

function search(jwt, records) {
  const { header, claims, signature, read } = parts(jwt);
  const wanted = [
    ["the user", read.claims.sub], ["the name", read.claims.name], ["the mail address", read.claims.email],
    ["the issuer", read.claims.iss], ["the token’s id", read.claims.jti],
    ["header and claims as they were issued", `${header}.${claims}`], ["the signature, which is the client’s token", signature],
  ].filter(([, text]) => text);
  const hits = found(wanted.map(([, text]) => text), records);
  const list = facts(...wanted.map(([words, text]) => {
    const there = hits.includes(text);
    const quoted = text.length > 48 ? "" : ` ${text}`;
    return [!there, `${there ? "Found" : "Not found"}: ${words}${quoted}`];
  }));
  const title = el("h3", "", "Every byte was searched for what the last token says");
  return { list: el("div", "panel", title, list), hits: hits.length };
}

const folded = (entry) =>
  el("details", "", el("summary", "", `An older record, forgotten in ${count(entry.expires_in)} s`), record(entry));

function record({ key, size, expires_in, bytes }) {
  const row = (name, value) => [el("dt", "", name), el("dd", "", value)];
  const about = el("dl", "", ...row("Key", el("code", "", key)), ...row("Size", `${count(size)} bytes`),
    ...row("Forgotten in", `${count(expires_in)} s`));
  const legend = el("ul", "bytes", ...layout(bytes).map(([kind, words, first, end]) =>
    el("li", kind, `${first}–${end - 1}: ${words}`)));
  return el("article", "panel", el("h3", "", "A record"), about, ...hexdump(bytes), legend);
}
