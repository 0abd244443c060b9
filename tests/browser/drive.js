// Keeps one page open in Chromium and runs on it what comes in on standard input, a JSON object a line: {code, arguments}. Answers each with
// {value} or {error}. Decides nothing: what is expected stands in the tests, and what went wrong in the page is kept for them.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [packages, origin] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const { chromium } = require("playwright-core");
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB", timezoneId: "UTC", bypassCSP: false });
// Toasts go again after a while, and a test on a busy machine may look too late: what was ever shown is kept.
await context.addInitScript(() => {
  window.toastsShown = [];
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) if (node instanceof Element && node.matches(".toast")) window.toastsShown.push(`${node.className}: ${node.innerText}`);
    }
  }).observe(document, { childList: true, subtree: true });
});
const page = await context.newPage();
page.setDefaultTimeout(20_000);

/// What no test expects: words on the console, exceptions, requests to anybody else. Requests that a test lets fail make the browser itself
/// say so on the console; those are kept apart.
const problems = { console: [], network: [], elsewhere: [] };
page.on("console", (message) => {
  if (message.type() !== "error" && message.type() !== "warning") return;
  const list = /^Failed to load resource/.test(message.text()) ? problems.network : problems.console;
  list.push(`${message.type()}: ${message.text()}`);
});
page.on("pageerror", (error) => problems.console.push(String(error)));
page.on("request", (request) => {
  const url = request.url();
  if (!url.startsWith(`${origin}/`) && !/^(data|blob|about):/.test(url)) problems.elsewhere.push(url);
});

/// What axe-core finds: rule, impact and the first places.
async function axe() {
  // A script of the test's own, past the page's policy: through the debugger, not as a tag.
  await page.evaluate(axeSource);
  // Judged is what stands there: a toast that is still fading in has no contrast yet.
  await page.emulateMedia({ reducedMotion: "reduce" });
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  await page.emulateMedia({ reducedMotion: null });
  return result.violations.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
}

const AsyncFunction = (async () => {}).constructor;
for await (const line of createInterface({ input: process.stdin })) {
  const { code, arguments: given } = JSON.parse(line);
  let answer;
  try {
    const value = await new AsyncFunction("page", "context", "axe", "problems", "given", code)(page, context, axe, problems, given);
    answer = { value: value ?? null };
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
