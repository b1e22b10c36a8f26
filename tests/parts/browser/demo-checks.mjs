// What holds on the demo page at any time: it fits, it can be read, and everything on it can be reached and named.

import assert from "node:assert/strict";

export async function fits(page, when) {
  const wide = await page.evaluate(() => {
    const limit = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("body *")]
      .filter((element) => element.checkVisibility() && !element.closest("svg") && element.getBoundingClientRect().right > limit + 1)
      .map((element) => `${element.tagName}.${element.className}`);
    // Text that runs over the edge of its own box, where nothing cuts or scrolls it.
    const spilled = [...document.querySelectorAll("body *")]
      .filter((element) => element.checkVisibility() && !element.closest("svg") && element.clientWidth > 0
        && element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX === "visible")
      .map((element) => `${element.tagName}.${element.className}`);
    return { scrolls: document.documentElement.scrollWidth > limit, out, spilled };
  });
  assert.deepEqual(wide, { scrolls: false, out: [], spilled: [] }, `${when}: wider than its place`);
}

// WCAG 2.2, 1.4.3: text against the nearest painted background behind it.
export async function legible(page, when) {
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

export async function structure(page) {
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
export async function reachable(page) {
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
