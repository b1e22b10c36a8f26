// Pages of two origins and two APIs: node cross-origin.mjs <allowed page> <other page> <API> <API for everybody>
//
// The allowed page gets a token and uses it; the other one learns nothing, but from the API that is for everybody.

import assert from "node:assert/strict";
import { withPage } from "./browser.mjs";

const [allowed, other, api, open] = process.argv.slice(2);

// What `fetch` gives in the page: what a script there can see of an answer, or that there is nothing to see.
async function call(page, path, options, base = api) {
  return page.evaluate(async ([url, options]) => {
    try {
      const answer = await fetch(url, options);
      const headers = Object.fromEntries(answer.headers);
      return { status: answer.status, headers, text: await answer.text() };
    } catch (error) {
      return { error: error.name };
    }
  }, [base + path, options]);
}

const askToken = {
  method: "POST",
  headers: { "Content-Type": "application/x-www-form-urlencoded" },
  body: "grant_type=client_credentials",
};
// With client authentication a browser asks first.
const askWithSecret = { ...askToken, headers: { ...askToken.headers, Authorization: "Basic c2hvcDpzZWNyZXQ=" } };
const put = (token) => ({
  method: "PUT",
  headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
  body: JSON.stringify({ count: 1 }),
});

// Chromium logs each refusal by itself.
const isMeant = (text) => /^Failed to load resource|blocked by CORS policy/.test(text);

async function visit(origin, script) {
  await withPage(async (page, errors) => {
    await page.goto(origin);
    await script(page);
    errors.splice(0, errors.length, ...errors.filter((text) => !isMeant(text)));
  });
}

await visit(allowed, async (page) => {
  let token;
  for (const options of [askToken, askWithSecret]) {
    const issued = await call(page, "/oauth/token", options);
    assert.equal(issued.status, 200, JSON.stringify(issued));
    token = JSON.parse(issued.text).access_token;
    assert.match(token, /^[\w-]{43,}$/, "a signature and nothing else");
  }
  const done = await call(page, "/orders", put(token));
  assert.equal(done.status, 200, JSON.stringify(done));
  assert.equal(done.text, "ok");
  const refused = await call(page, "/orders", put("wrong"));
  assert.equal(refused.status, 401, JSON.stringify(refused));
  assert.equal(JSON.parse(refused.text).error, "invalid_token");
  assert.match(refused.headers["www-authenticate"], /error="invalid_token"/, "it is exposed");
  assert.equal(done.headers["x-hidden"], undefined, "it is not exposed");
  // A method and a header that are not allowed do not get past the browser.
  const deletion = { method: "DELETE", headers: { Authorization: `Bearer ${token}` } };
  assert.deepEqual(await call(page, "/orders", deletion), { error: "TypeError" });
  const header = { headers: { Authorization: `Bearer ${token}`, "X-Other": "1" } };
  assert.deepEqual(await call(page, "/orders", header), { error: "TypeError" });
  console.log(`TOKEN ${token}`);
});

await visit(other, async (page) => {
  for (const [path, options] of [
    ["/oauth/token", askToken],
    ["/oauth/token", askWithSecret],
    ["/orders", put("wrong")],
    ["/orders", {}],
  ]) {
    assert.deepEqual(await call(page, path, options), { error: "TypeError" }, path);
  }
  const issued = await call(page, "/oauth/token", askWithSecret, open);
  assert.equal(issued.status, 200, JSON.stringify(issued));
  const done = await call(page, "/orders", put(JSON.parse(issued.text).access_token), open);
  assert.equal(done.status, 200, JSON.stringify(done));
  assert.equal(done.headers["x-hidden"], "1", "everything is exposed");
});
console.log("DONE");
