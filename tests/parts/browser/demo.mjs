// The demo page in a real Chromium: node demo.mjs <base URL> <folder for screenshots>
//
// Plays the four steps by keyboard and by click, on a desktop and on a phone, in light and in dark,
// and checks what a person would see, hear and reach. CHROMIUM names another browser binary.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, folder] = process.argv.slice(2);
if (!base || !folder) fail("usage: node demo.mjs <base URL of the demo> <folder for screenshots>");
const origin = new URL(base).origin;

const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
  .find((path) => path && existsSync(path));
if (!executablePath) fail("no Chromium found: apt-get install chromium, or set CHROMIUM to a browser's path");

// A step takes milliseconds; this is for a busy machine.
const PATIENCE_MS = 20_000;
const VIEWS = [
  { name: "1280-light-keyboard", width: 1280, height: 900, colorScheme: "light", by: press },
  { name: "1280-dark-click", width: 1280, height: 900, colorScheme: "dark", by: click },
  { name: "360-light-click", width: 360, height: 740, colorScheme: "light", by: click },
  { name: "360-dark-keyboard", width: 360, height: 740, colorScheme: "dark", by: press },
];

function fail(message) {
  console.error(`demo.mjs: ${message}`);
  process.exit(1);
}

// ---- ways to use a control ----

async function click(page, id) {
  await page.click(`#${id}`);
}

// By keyboard alone: Tab until the control has the focus, then Enter.
async function press(page, id) {
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
async function said(page, number) {
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

// ---- what holds at any time ----

async function fits(page, when) {
  const wide = await page.evaluate(() => {
    const limit = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("body *")]
      .filter((element) => element.checkVisibility() && !element.closest("svg") && element.getBoundingClientRect().right > limit + 1)
      .map((element) => `${element.tagName}.${element.className}`);
    return { scrolls: document.documentElement.scrollWidth > limit, out };
  });
  assert.deepEqual(wide, { scrolls: false, out: [] }, `${when}: wider than the window`);
}

// WCAG 2.2, 1.4.3: text against the nearest painted background behind it.
async function legible(page, when) {
  const faint = await page.evaluate(() => {
    const numbers = (color) => color.match(/[\d.]+/g).map(Number);
    const light = (color) => numbers(color).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor;
        if (numbers(color)[3] !== 0) return color;
      }
      return "rgb(255, 255, 255)";
    };
    const ratio = (element) => {
      const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    };
    return [...document.querySelectorAll("body *")]
      .filter((element) => !element.closest("svg") && element.checkVisibility()
        && [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
      .filter((element) => ratio(element) < 4.5)
      .map((element) => `${element.className} "${element.textContent.slice(0, 30)}" ${ratio(element).toFixed(2)}`);
  });
  assert.deepEqual(faint, [], `${when}: text with less contrast than 4.5 : 1`);
}

async function structure(page) {
  assert.equal(await page.getAttribute("html", "lang"), "en");
  for (const role of ["banner", "main", "complementary", "contentinfo"]) {
    assert.equal(await page.getByRole(role).count(), 1, `landmark ${role}`);
  }
  const levels = await page.$$eval("h1, h2, h3, h4", (all) => all.map((heading) => Number(heading.tagName[1])));
  assert.equal(levels.filter((level) => level === 1).length, 1, "one h1");
  levels.forEach((level, index) => assert.ok(index === 0 ? level === 1 : level <= levels[index - 1] + 1, `heading order ${levels}`));
  for (const title of ["Get a token", "Call the API", "Look into the store", "Try to cheat"]) {
    assert.equal(await page.getByRole("region", { name: title }).count(), 1, `a region named after "${title}"`);
  }
  assert.equal(await page.getByRole("status").count(), 4, "each step announces its result");
}

// Every control can be reached with Tab, shows where the focus is, and has a name of its own.
async function reachable(page) {
  const cdp = await page.context().newCDPSession(page);
  const { nodes } = await cdp.send("Accessibility.getFullAXTree");
  await cdp.detach();
  const names = nodes.filter((node) => !node.ignored && node.role?.value === "button").map((node) => node.name?.value ?? "");
  assert.ok(names.length >= 8, `eight buttons, found: ${names}`);
  assert.ok(names.every((name) => name.trim()), `a button has no name: ${JSON.stringify(names)}`);
  assert.equal(new Set(names).size, names.length, `two buttons of one name: ${names}`);

  const wanted = await page.$$eval("button, summary, a[href], input:checked", (all) => all
    .filter((element) => element.checkVisibility()).map((element, index) => (element.dataset.stop = String(index))));
  await page.evaluate(() => document.activeElement?.blur());
  const seen = new Set();
  for (let stops = 0; stops < wanted.length + 5; stops += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      const ring = [element, element.closest("label")].some((one) => one && parseFloat(getComputedStyle(one).outlineWidth) >= 2
        && getComputedStyle(one).outlineStyle !== "none");
      return { stop: element.dataset.stop, ring, words: element.textContent.slice(0, 40) };
    });
    if (stop.stop === undefined) continue;
    assert.ok(stop.ring, `no visible focus on "${stop.words}"`);
    seen.add(stop.stop);
  }
  assert.deepEqual(wanted.filter((stop) => !seen.has(stop)), [], "controls that Tab does not reach");
}

// ---- the four steps ----

async function tokenStep(page, by) {
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

async function callStep(page, by, { jwt, token }) {
  await by(page, "call");
  assert.match(await said(page, 2), /the API received the whole JWT/);
  assert.equal(await page.textContent("#sent .token"), token, "the client sent its token");
  assert.equal(await page.textContent("#received .wire .token"), jwt, "the API received the issued JWT, byte for byte");
  assert.equal(await page.locator("#received li").count(), 3);
  assert.equal(await page.locator("#received li.no").count(), 0, "a fact of step 2 does not hold");
}

async function storeStep(page, by) {
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

async function cheatStep(page, by) {
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

async function machineStep(page) {
  await page.locator("input[name=grant]:checked").focus();
  await page.keyboard.press("ArrowDown");
  await page.focus("#get");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("said-1").textContent.includes("Nightly order report"), null, { timeout: PATIENCE_MS });
  assert.ok(!(await page.textContent("#issued")).includes("alice"), "the machine's token says nothing of Alice");
}

// ---- whole visits ----

async function visit(browser, { name, width, height, colorScheme, by }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
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
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
}).catch((error) => fail(`Chromium does not start: ${error.message}`));
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
