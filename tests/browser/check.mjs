// Opens pages in headless Chromium and fails on what a user would stumble over.
//
//   node check.mjs OUT_DIR URL...        (check.sh sets PLAYWRIGHT_CORE and CHROMIUM)
//
// Each page is opened with and without scripts. It fails when its status is not 200, when
// anything is written to the console as an error, when a script throws, when the page's own
// content security policy is violated, when a request fails or is answered with 400 or more,
// or when it asks any other origin than its own for anything. A page without scripts must
// still show text. Pictures go to OUT_DIR: NAME.png and NAME-noscript.png.
//
// Only loopback addresses may be opened: the check must never leave the machine.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const SETTLE_MS = 500;
const LIMIT_MS = 30_000;
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

const [outDir, ...urls] = process.argv.slice(2);
if (!outDir || urls.length === 0) {
  console.error('usage: check.mjs OUT_DIR URL...');
  process.exit(2);
}
for (const url of urls) {
  if (!URL.canParse(url) || !LOOPBACK.has(new URL(url).hostname)) {
    console.error(`error: ${url} is not an address of this machine`);
    process.exit(2);
  }
}

const { chromium } = await import(pathToFileURL(process.env.PLAYWRIGHT_CORE).href);

/** Requests that the browser itself makes or that carry their content in the address. */
function staysInside(address, origin) {
  return address.startsWith('data:') || address.startsWith('blob:') ||
    (URL.canParse(address) && new URL(address).origin === origin);
}

function pictureName(url) {
  const { pathname, search, hash } = new URL(url);
  const name = (pathname + search + hash).replace(/[^A-Za-z0-9]+/g, '-').replace(/^-+|-+$/g, '');
  return name || 'index';
}

/** Everything that is wrong with one page, as lines of text. */
async function findings(browser, url, javaScriptEnabled) {
  const origin = new URL(url).origin;
  const found = [];
  const context = await browser.newContext({
    javaScriptEnabled,
    viewport: { width: 1280, height: 900 },
    serviceWorkers: 'block',
  });
  try {
    // Nothing is sent elsewhere: the request is noted and stopped.
    await context.route(address => !staysInside(address.href, origin), route => {
      found.push(`asks another origin: ${route.request().url()}`);
      return route.abort();
    });
    const page = await context.newPage();
    if (javaScriptEnabled) {
      await page.exposeFunction('__cspViolation', text => found.push(`CSP violation: ${text}`));
      await page.addInitScript(() => {
        document.addEventListener('securitypolicyviolation', event => {
          window.__cspViolation(`${event.violatedDirective} blocked ${event.blockedURI || 'inline'}`);
        });
      });
    }
    page.on('console', message => {
      if (message.type() === 'error') found.push(`console error: ${message.text()}`);
    });
    page.on('pageerror', error => found.push(`script error: ${error.message}`));
    page.on('requestfailed', request => {
      const why = request.failure()?.errorText ?? 'unknown';
      // An event stream or download is cut off when the page closes; that is not a fault.
      if (why !== 'net::ERR_ABORTED' && staysInside(request.url(), origin)) {
        found.push(`request failed (${why}): ${request.url()}`);
      }
    });
    page.on('response', response => {
      if (response.status() >= 400) found.push(`status ${response.status()}: ${response.url()}`);
    });

    // A page with an event stream never becomes idle, hence "load" and a moment more.
    const answer = await page.goto(url, { waitUntil: 'load', timeout: LIMIT_MS });
    if (answer?.status() !== 200) found.push(`the page's status is ${answer?.status()}, not 200`);
    await page.waitForTimeout(SETTLE_MS);
    if ((await page.locator('body').innerText()).trim() === '') found.push('the page shows no text');

    const suffix = javaScriptEnabled ? '' : '-noscript';
    await page.screenshot({ path: join(outDir, `${pictureName(url)}${suffix}.png`), fullPage: true });
  } catch (error) {
    found.push(`cannot be opened: ${error.message.split('\n')[0]}`);
  } finally {
    await context.close();
  }
  return [...new Set(found)];
}

await mkdir(outDir, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: FLAGS,
});
let failed = 0;
try {
  for (const url of urls) {
    for (const javaScriptEnabled of [true, false]) {
      const found = await findings(browser, url, javaScriptEnabled);
      const mode = javaScriptEnabled ? 'with scripts' : 'without scripts';
      console.log(`${found.length === 0 ? 'ok  ' : 'FAIL'} ${url} ${mode}`);
      for (const line of found) console.log(`     ${line}`);
      failed += found.length === 0 ? 0 : 1;
    }
  }
} finally {
  await browser.close();
}
process.exit(failed === 0 ? 0 : 1);
