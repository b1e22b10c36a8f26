// Shows that the browser works: opens a page of an upstream and prints its title.
import { check, withPage } from './browser.mjs';

await withPage(async (page) => {
  const answer = await page.goto(process.argv[2]);
  check(answer.status() === 200, `status ${answer.status()}`);
  console.log(`TITLE ${await page.title()}`);
});
