// The four steps of the demo page, each with what a person must see after it. `by` is a way to use a control.

import assert from "node:assert/strict";

// A step takes milliseconds; this is for a busy machine.
export const PATIENCE_MS = 20_000;

export async function click(page, id) {
  await page.click(`#${id}`);
}

export async function tap(page, id) {
  await page.tap(`#${id}`);
}

// By keyboard alone: Tab until the control has the focus, then Enter.
export async function press(page, id) {
  await page.evaluate(() => document.activeElement?.blur());
  for (let stops = 0; stops < 80; stops += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement?.id) === id) {
      await page.keyboard.press("Enter");
      return;
    }
  }
  assert.fail(`#${id} cannot be reached with Tab`);
}

// Waits for a step's sentence, and fails with the page's own words where it is in trouble.
export async function said(page, number) {
  await page.waitForFunction((n) => {
    const { className } = document.getElementById(`said-${n}`);
    const busy = document.querySelector("[aria-disabled=true]");
    return !busy && /done|trouble/.test(className);
  }, number, { timeout: PATIENCE_MS });
  const line = page.locator(`#said-${number}`);
  const text = await line.textContent();
  assert.match(await line.getAttribute("class"), /done/, `step ${number} says: ${text}`);
  return text;
}

export async function tokenStep(page, by) {
  await by(page, "get");
  assert.match(await said(page, 1), /The provider issued a JWT of [\d,]+ characters about Alice Liddell/);
  const issued = await page.textContent("#issued");
  for (const claim of ["alice@wonderland.example", "https://api.demo", '"exp"', "RS256", "tea-party"]) {
    assert.ok(issued.includes(claim), `the issued JWT shows ${claim}`);
  }
  const [header, claims, signature] = await page.$$eval("#issued .token", (all) => all.map((part) => part.textContent));
  const got = await page.textContent("#got .token");
  assert.equal(got, signature, "the client's token is the JWT's signature");
  const answer = await page.textContent("#got");
  assert.ok(!answer.includes(claims.slice(0, -1)), "no claims in the client's answer");
  assert.match(answer, /"token_type": ?"Bearer"/);
  assert.equal(await page.locator("#got li.no").count(), 0, "a fact of step 1 does not hold");
  return { jwt: `${header}${claims}${signature}`, token: got };
}

export async function callStep(page, by, { jwt, token }) {
  await by(page, "call");
  assert.match(await said(page, 2), /the API received the whole JWT/);
  assert.equal(await page.textContent("#sent .token"), token, "the client sent its token");
  assert.equal(await page.textContent("#received .wire .token"), jwt, "the API received the issued JWT, byte for byte");
  assert.equal(await page.locator("#received li").count(), 3);
  assert.equal(await page.locator("#received li.no").count(), 0, "a fact of step 2 does not hold");
}

export async function storeStep(page, by) {
  await by(page, "look");
  assert.match(await said(page, 3), /nothing that a thief could read/);
  const key = await page.textContent("#records dd code");
  assert.match(key, /^st1:[\w-]{43}$/, "the key is the record's lookup id");
  assert.match(await page.textContent("#records .hex"), /^0000 {2}01 /, "a hex dump of a record of version 1");
  assert.equal(await page.locator("#records li.no").count(), 0, "something readable is in the store");
  assert.equal(await page.locator("#records .facts li").count(), 7, "seven texts were searched for");
  const more = page.getByRole("button", { name: /Show all [\d,]+ bytes/ }).first();
  const before = (await page.textContent("#records .hex")).length;
  await more.focus();
  await page.keyboard.press("Enter");
  assert.ok((await page.textContent("#records .hex")).length > before, "all bytes are shown on demand");
  await page.keyboard.press("Enter");
}

export async function cheatStep(page, by) {
  await by(page, "cheat-all");
  assert.equal(await said(page, 4), "All four were refused: 401, 401, 401, 400.");
  const badges = await page.locator("#cheats .badge").allTextContents();
  assert.deepEqual(badges, ["401 refused", "401 refused", "401 refused", "400 refused"]);
  const challenges = await page.locator("#cheats .answer code").allTextContents();
  challenges.slice(0, 3).forEach((line) => assert.match(line, /^WWW-Authenticate: Bearer .*error="invalid_token"/));
  assert.equal(new Set(challenges.slice(0, 3)).size, 1, "one answer for all that is wrong with a token");
  const single = page.getByRole("button", { name: "Send the whole JWT" });
  await single.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("said-4").textContent.startsWith("401:"), null, { timeout: PATIENCE_MS });
}

export async function machineStep(page) {
  await page.locator("input[name=grant]:checked").focus();
  await page.keyboard.press("ArrowDown");
  await page.focus("#get");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("said-1").textContent.includes("Nightly order report"), null, { timeout: PATIENCE_MS });
  assert.ok(!(await page.textContent("#issued")).includes("alice"), "the machine's token says nothing of Alice");
}
