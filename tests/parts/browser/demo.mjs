// The demo page in a real Chromium: node demo.mjs <base URL> <folder for screenshots>
//
// Plays the four steps by keyboard, by click and by tap, on a desktop and on a phone, in light and in dark,
// and checks what a person would see, hear and reach. Prints the page's curl lines, each behind COMMAND.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch } from "./browser.mjs";
import { fits, legible, reachable, structure } from "./demo-checks.mjs";
import {
  PATIENCE_MS, callStep, cheatStep, click, machineStep, press, said, storeStep, tap, tokenStep,
} from "./demo-steps.mjs";

const [base, folder] = process.argv.slice(2);
if (!base || !folder) fail("usage: node demo.mjs <base URL of the demo> <folder for screenshots>");
const origin = new URL(base).origin;

// 320 is where WCAG 2.2, 1.4.10, still wants all of it without scrolling sideways.
const PHONE = { isMobile: true, hasTouch: true, height: 740 };
const VIEWS = [
  { name: "1280-light-keyboard", width: 1280, height: 900, colorScheme: "light", by: press },
  { name: "1280-dark-click", width: 1280, height: 900, colorScheme: "dark", by: click },
  { name: "320-light-tap", ...PHONE, width: 320, colorScheme: "light", by: tap },
  { name: "360-dark-keyboard", ...PHONE, width: 360, colorScheme: "dark", by: press },
];

function fail(message) {
  console.error(`demo.mjs: ${message}`);
  process.exit(1);
}

async function visit(browser, { name, width, height, by, ...options }) {
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    // Chromium logs each refused request by itself; those of step 4 are meant to be refused.
    const refused = /^Failed to load resource.*\b40[01]\b/.test(message.text()) && message.location().url.startsWith(`${origin}/api/`);
    if (!refused && ["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) complaints.push(`asks elsewhere: ${request.url()}`);
  });

  const shot = async (step) => {
    await page.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
    await page.screenshot({ path: join(folder, `${name}-${step}.png`), fullPage: true });
  };
  const check = async (when) => { await fits(page, `${name}, ${when}`); await legible(page, `${name}, ${when}`); };
  const response = await page.goto(base);
  assert.match(response.headers()["content-security-policy"] ?? "", /default-src 'none'/);
  assert.equal(response.headers()["x-content-type-options"], "nosniff");
  await page.waitForFunction(() => document.getElementById("curl-1").textContent.includes("curl"), null, { timeout: PATIENCE_MS });

  // A page without a viewport of its own is laid out for a desktop and shrunk.
  assert.equal(await page.evaluate(() => document.documentElement.clientWidth), width, `${name}: laid out for another width`);
  for (const id of ["curl-1", "curl-2"]) console.log(`COMMAND ${await page.textContent(`#${id}`)}`);
  await structure(page);
  await check("before any step");
  await reachable(page);
  await shot("0-open");
  const split = await tokenStep(page, by);
  await check("step 1");
  await callStep(page, by, split);
  await check("step 2");
  await storeStep(page, by);
  await check("step 3");
  await cheatStep(page, by);
  await check("step 4");
  await structure(page);
  await reachable(page);
  await page.waitForFunction(() => !document.querySelector("#diagram.moving"), null, { timeout: PATIENCE_MS });
  assert.equal(await page.getAttribute("#diagram", "data-step"), "cheat");
  await shot("4-done");
  await machineStep(page);
  assert.deepEqual(complaints, [], `${name}: the browser complains`);
  await context.close();
}

// A later step without a token gets one first; nothing moves for those who asked for calm.
async function calmVisit(browser) {
  const context = await browser.newContext({ reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(base);
  await page.click("#call");
  assert.match(await said(page, 2), /^There was no token yet/);
  assert.equal(await page.getAttribute("#diagram", "data-step"), "call");
  assert.equal(await page.locator("#diagram.moving").count(), 0, "the diagram moves in spite of prefers-reduced-motion");
  await context.close();
}

// What the page says when things do not work.
async function troubledVisit(browser) {
  const context = await browser.newContext({ viewport: { width: 360, height: 740 } });
  const page = await context.newPage();
  await page.goto(base);
  await page.click("#get");
  await said(page, 1);
  const troubles = [
    [(route) => route.abort(), /The gateway does not answer/],
    [(route) => route.fulfill({ status: 503, headers: { "retry-after": "2" } }), /try again in 2 s/],
    [(route) => route.fulfill({ status: 502 }), /answered 502/],
    [(route) => route.fulfill({ status: 401 }), /no longer knows this token/],
  ];
  for (const [handler, words] of troubles) {
    await page.route("**/api/**", handler);
    await page.click("#call");
    await page.waitForFunction((source) => new RegExp(source).test(document.getElementById("said-2").textContent), words.source, { timeout: PATIENCE_MS });
    assert.match(await page.getAttribute("#said-2", "class"), /trouble/);
    await page.unroute("**/api/**", handler);
  }
  await legible(page, "trouble");
  await fits(page, "trouble");
  await page.screenshot({ path: join(folder, "360-trouble.png"), fullPage: true });
  await page.click("#call");
  assert.match(await said(page, 2), /the API received the whole JWT/, "the page recovers");
  await context.close();
}

mkdirSync(folder, { recursive: true });
const browser = await launch().catch((error) => fail(`Chromium does not start: ${error.message}`));
try {
  for (const view of VIEWS) {
    await visit(browser, view).catch((error) => { throw new Error(`${view.name}: ${error.message}`, { cause: error }); });
    console.log(`ok ${view.name}`);
  }
  await calmVisit(browser);
  console.log("ok reduced motion");
  await troubledVisit(browser);
  console.log("ok troubles");
} catch (error) {
  await browser.close();
  fail(error.message);
}
await browser.close();
