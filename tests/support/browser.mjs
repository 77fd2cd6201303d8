// One Chromium, driven line by line: {"page": 0, "call": "click", "args": ["css"]} -> {"ok": true, "value": …}.
import readline from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../servers/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage']
});
const pages = [];
const contexts = [];
const logs = [];

async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  contexts.push(context);
  return addPage(context);
}

async function addPage(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(90000);
  const log = { requests: [], errors: [], dialogs: [] };
  page.on('request', request => log.requests.push(request.url()));
  page.on('pageerror', error => log.errors.push(String(error)));
  page.on('console', message => message.type() === 'error' && log.errors.push(message.text()));
  page.on('dialog', dialog => {
    log.dialogs.push(dialog.type());
    dialog.accept().catch(() => undefined);
  });
  pages.push(page);
  logs.push(log);
  return pages.length - 1;
}

async function perform({ page, call, args = [] }) {
  switch (call) {
    case 'open':
      return open(args[0] ?? {});
    case 'tab':
      return addPage(pages[page].context());
    case 'log':
      return logs[page];
    case 'cookies':
      return pages[page].context().cookies();
    default: {
      const path = call.split('.');
      const method = path.pop();
      const target = path.reduce((owner, name) => owner[name], pages[page]);
      const value = await target[method](...args);
      return value === undefined || typeof value === 'function' ? null : isPlain(value) ? value : null;
    }
  }
}

function isPlain(value) {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value) || Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { ok: true, value: (await perform(JSON.parse(line))) ?? null };
  } catch (error) {
    answer = { ok: false, why: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
await browser.close();
