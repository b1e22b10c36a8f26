// Debian's Chromium through playwright-core. Scripts beside this one do:
//
//   import { withPage } from './browser.mjs';
//   await withPage(async (page) => { await page.goto(process.argv[2]); … });
//
// A script that throws ends with code 1, and so does one whose page logged an error.
import { chromium } from 'playwright-core';

// Root, which containers and CI run as, has no sandbox; the others keep the browser from calling home.
const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

// The browser alone, for scripts that open pages of their own and look at what these log themselves.
export function launch() {
  return chromium.launch({
    executablePath: process.env.SPLITTOKEN_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: flags,
  });
}

// Runs `script` with a new page of a new browser, which is closed afterwards. `options` are those of Playwright's
// `browser.newContext`, such as `viewport`, `colorScheme`, `reducedMotion`.
export async function withPage(script, options = {}) {
  const browser = await launch();
  try {
    const page = await (await browser.newContext(options)).newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    await script(page, errors);
    if (errors.length > 0) {
      throw new Error(`the page reported: ${errors.join('; ')}`);
    }
  } finally {
    await browser.close();
  }
}

// Ends the script with a message where `condition` does not hold.
export function check(condition, message) {
  if (!condition) {
    throw new Error(message);
  }
}
