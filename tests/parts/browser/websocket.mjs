// A page and its sockets: node websocket.mjs <page> <socket> <socket that is refused>
//
// Several at once say something short and something long, hear it in upper case, and close.

import assert from "node:assert/strict";
import { withPage } from "./browser.mjs";

const [home, socket, refused] = process.argv.slice(2);

// What becomes of a socket in the page: what it heard, and how it ended.
async function converse(page, url, messages) {
  return page.evaluate(([url, messages]) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    const heard = [];
    socket.onopen = () => messages.forEach((message) => socket.send(message));
    socket.onmessage = (event) => {
      heard.push(event.data);
      if (heard.length === messages.length) socket.close(1000, "done");
    };
    socket.onclose = (event) => resolve({ heard, code: event.code, reason: event.reason, clean: event.wasClean });
  }), [url, messages]);
}

// Chromium logs each refusal by itself.
const isMeant = (text) => /WebSocket connection to .* failed/.test(text);

await withPage(async (page, errors) => {
  const answer = await page.goto(home);
  assert.equal(answer.status(), 200);
  const long = "abcdefgh".repeat(64 * 1024);
  const conversations = [1, 2, 3].map((number) => [`hello ${number}`, "x".repeat(300), `${number} ${long}`]);
  const ends = await Promise.all(conversations.map((messages) => converse(page, socket, messages)));
  ends.forEach((end, at) => {
    const heard = conversations[at].map((message) => message.toUpperCase());
    assert.deepEqual(end, { heard, code: 1000, reason: "done", clean: true });
  });
  const end = await converse(page, refused, []);
  assert.deepEqual(end, { heard: [], code: 1006, reason: "", clean: false });
  errors.splice(0, errors.length, ...errors.filter((text) => !isMeant(text)));
}, { ignoreHTTPSErrors: true });
console.log("DONE");
