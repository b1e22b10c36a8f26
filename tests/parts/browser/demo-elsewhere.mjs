// The demo page where the records lie in a Redis: node demo-elsewhere.mjs <base URL> <the store as the demo names it>
//
// Prints the commands that the page gives, each behind COMMAND.

import assert from "node:assert/strict";
import { withPage } from "./browser.mjs";
import { fits, legible } from "./demo-checks.mjs";
import { callStep, cheatStep, click, said, tokenStep } from "./demo-steps.mjs";

const [base, store] = process.argv.slice(2);

await withPage(async (page, errors) => {
  await page.goto(base);
  const split = await tokenStep(page, click);
  await callStep(page, click, split);
  await page.click("#look");
  assert.ok((await said(page, 3)).startsWith(`The records lie in ${store}`), await page.textContent("#said-3"));
  assert.ok((await page.textContent("#where")).includes(store), "the last lines say where the store is");
  assert.equal(await page.locator("#records .hex").count(), 0, "bytes of a store that the page cannot see");
  await fits(page, "a store elsewhere");
  await legible(page, "a store elsewhere");
  for (const line of await page.locator("#records pre").allTextContents()) console.log(`COMMAND ${line}`);
  await cheatStep(page, click);
  // Chromium logs each refused request by itself; those of step 4 are meant to be refused.
  const meant = errors.filter((text) => /^Failed to load resource.*\b40[01]\b/.test(text));
  errors.splice(0, errors.length, ...errors.filter((text) => !meant.includes(text)));
}, { viewport: { width: 390, height: 800 } });
