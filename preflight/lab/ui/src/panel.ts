/** The side panel: what is saved, what needs a person, what the node is worth. */

import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';

import { button, element, type Child } from './dom';
import { rows, text, type Answer, type Row, type Space } from './facts';
import type { Feed } from './feed';
import { ago, bytes, count, words } from './words';

export const icon = new LabIcon({
  name: 'preflight:node',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" d="M12 2 4 5v6c0 5 3.4 9.700 8 11 4.600-1.300 8-6 8-11V5zm-1.200 14.200-3.500-3.500 1.400-1.400 2.100 2.100 4.600-4.600 1.400 1.400z"/></svg>'
});

export interface Doings {
  open(path: string): void;
  flush(): void;
  move(): void;
}

export class Panel extends Widget {
  constructor(
    private readonly feed: Feed,
    private readonly doings: Doings
  ) {
    super();
    this.id = 'preflight-panel';
    this.title.icon = icon;
    this.title.caption = 'What is saved, and this node';
    this.addClass('pf-panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'What is saved, and this node');
    this.said.hidden = true;
    this.node.append(this.head, this.said, ...this.parts.values());
    feed.changed.connect(this.redraw, this);
  }

  protected override onAfterShow(): void {
    this.feed.watched = true;
    void this.feed.refresh();
    this.redraw();
  }

  protected override onAfterHide(): void {
    this.feed.watched = false;
  }

  private redraw(): void {
    if (!this.isVisible) {
      return;
    }
    const said = words(this.feed.sync, this.feed.sinceS, this.feed.connected);
    this.head.dataset['tone'] = said.tone;
    if (this.head.dataset['said'] !== said.short + said.advice) {
      this.head.dataset['said'] = said.short + said.advice;
      const isOpen = this.head.querySelector('details')?.open ?? false; // the words count seconds; what is open stays so
      this.head.replaceChildren(
        element('h2', {}, said.short),
        said.advice ? element('p', { cls: 'pf-advice' }, said.advice) : '',
        said.detail ? element('details', {}, element('summary', {}, 'What it said'), element('p', { cls: 'pf-advice' }, said.detail)) : ''
      );
      const details = this.head.querySelector('details');
      if (details) {
        details.open = isOpen;
      }
    }
    this.say();
    const status = this.feed.sync?.status;
    this.part('saving', status, () => this.saving());
    this.part('held', status?.held, () => this.held());
    this.part('conflicts', status?.conflicts, () => this.conflicts());
    this.part('trash', this.trashed, () => this.trash());
    this.part('packages', this.feed.packages, () => this.packages());
    this.part('now', [this.feed.snapshot?.memory, this.feed.snapshot?.disk, this.feed.snapshot?.gpus], () => this.now());
    this.part('node', this.feed.snapshot?.report, () => this.nodeFacts());
  }

  private say(): void {
    const told = this.feed.said;
    if (told && this.said.textContent !== told.text) {
      this.said.textContent = told.text;
      this.said.dataset['tone'] = told.tone;
      this.said.hidden = false;
    }
  }

  /** Redraw a part only when its facts changed: focus and selection stay where they are. */
  private part(name: string, facts: unknown, draw: () => Child[]): void {
    const home = this.parts.get(name);
    const stamp = JSON.stringify(facts, (key, value: unknown) => (VOLATILE.has(key) ? undefined : value)) ?? '';
    if (home && home.dataset['stamp'] !== stamp) {
      home.dataset['stamp'] = stamp;
      const drawn = draw().filter((child): child is Node | string => child !== null && child !== false);
      home.replaceChildren(...drawn);
      home.hidden = drawn.length === 0;
    }
  }

  private saving(): Child[] {
    const status = this.feed.sync?.status;
    const asked = status ? Object.entries(status.requests).filter(([, n]) => n > 0) : [];
    const total = asked.reduce((sum, [, n]) => sum + n, 0);
    return [
      element('h3', {}, 'Saving'),
      element('div', { cls: 'pf-row' }, button('Save everything now', this.doings.flush)),
      status ? facts([
        ['Bucket', status.store || 'none'],
        ['Holds', `${count(status.files, 'file')}, ${bytes(status.bytes)}`],
        ['Sent', bytes(status.bytes_sent)],
        ['Received', bytes(status.bytes_received)],
        ['Requests', `${total.toLocaleString('en')}${asked.length ? ` (${asked.map(([verb, n]) => `${n.toLocaleString('en')} ${verb}`).join(', ')})` : ''}`],
        ['Costs about', cost(status.cost_usd)]
      ]) : null,
      ...this.pending(status?.pending ?? []),
      status && status.problems.length
        ? list('Cannot be saved', status.problems.map(row => element('span', {}, this.link(text(row, 'path')), ` ${text(row, 'why')}`)))
        : null,
      status && status.left_by_previous.length
        ? list('The node before this one had not saved', status.left_by_previous.map(path => path))
        : null,
      status && status.mirrors.length
        ? list('Copies elsewhere', status.mirrors.map(row => `${text(row, 'store')}: ${text(row, 'state')} ${text(row, 'why')}`))
        : null
    ];
  }

  private pending(paths: readonly string[]): Child[] {
    const theirs = paths.filter(path => !path.startsWith('.preflight-lab/')); // layout and histories: ours
    return theirs.length ? [list('Not saved yet', theirs.map(path => this.link(path)))] : [];
  }

  private held(): Child[] {
    const status = this.feed.sync?.status;
    if (!status || status.held.length === 0) {
      return [];
    }
    return [
      element('h3', {}, `Deletes held back: ${status.held_count}`),
      element('p', {}, 'So many files vanished at once that this may be an accident. They are still in the bucket.'),
      element('div', { cls: 'pf-row' }, button('I meant it: delete them', () => void this.act('release', 'The deletes go ahead; the bucket keeps what it deletes for 30 days.'))),
      list('', [
        ...status.held.slice(0, SHOWN_HELD).map(row => text(row, 'path')),
        ...(status.held_count > SHOWN_HELD ? [`… and ${(status.held_count - SHOWN_HELD).toLocaleString('en')} more`] : [])
      ])
    ];
  }

  private conflicts(): Child[] {
    const found = this.feed.sync?.status?.conflicts ?? [];
    if (found.length === 0) {
      return [];
    }
    return [
      element('h3', {}, `Conflicts: ${found.length}`),
      element('p', {}, 'The same file was changed in two places. Both versions are here; nothing was overwritten.'),
      ...found.map(row => this.conflict(row))
    ];
  }

  private conflict(row: Row): HTMLElement {
    const path = text(row, 'path');
    const copy = text(row, 'copy');
    const keep = (which: string): void => void this.act('keep', 'One version is kept; the other is among the deleted files soon.', { path, copy, keep: which });
    return element(
      'div',
      { cls: 'pf-card', role: 'group', label: `Conflict: ${path}` },
      version('First', this.link(path)),
      version('Second', this.link(copy)),
      element(
        'div',
        { cls: 'pf-row' },
        button('Open both', () => [path, copy].forEach(one => this.doings.open(one))),
        button('Keep the first', () => keep('path')),
        button('Keep the second', () => keep('copy'))
      )
    );
  }

  private trash(): Child[] {
    const found = this.trashed;
    return [
      element('h3', {}, 'Deleted files'),
      element('div', { cls: 'pf-row' }, button(found ? 'Look again' : 'Show', () => void this.look())),
      found
        ? found.length
          ? element(
              'ul',
              { cls: 'pf-list' },
              ...found.map(row =>
                element(
                  'li',
                  {},
                  element('span', { title: text(row, 'path') }, text(row, 'path')),
                  element('small', {}, ` ${when(row['deleted_at'])} `),
                  button('Bring back', () => void this.act('bring_back', `${text(row, 'path')} is back.`, {
                    path: text(row, 'path'),
                    deleted_at: text(row, 'deleted_at')
                  }), {
                    label: `Bring back ${text(row, 'path')}`
                  })
                )
              )
            )
          : element('p', {}, 'None can be brought back.')
        : null
    ];
  }

  private packages(): Child[] {
    const packages = this.feed.packages;
    if (!packages || packages.state === 'none') {
      return [];
    }
    return [
      element('h3', {}, 'What you installed'),
      element('p', {}, `${packages.state}: ${packages.done} of ${packages.total}. ${packages.why}`),
      packages.failed.length ? list('Could not be installed again', packages.failed.map(name => name)) : null
    ];
  }

  private now(): Child[] {
    const snapshot = this.feed.snapshot;
    if (!snapshot) {
      return [];
    }
    return [
      element('h3', {}, 'Now'),
      gauge('Memory', snapshot.memory.used_bytes ?? null, snapshot.memory.total_bytes),
      gauge('Disk', used(snapshot.disk), snapshot.disk.total_bytes),
      ...(snapshot.gpus ?? []).map(gpu => bar(gpu.name, gpu.ratio, gpu.text))
    ];
  }

  private nodeFacts(): Child[] {
    const report = this.feed.snapshot?.report;
    if (!report) {
      return [element('h3', {}, 'This node'), element('p', {}, 'No report: the supervisor does not answer here.')];
    }
    const body = element('tbody', {});
    const skipped = new Map<string, string[]>();
    for (const check of report.checks) {
      if (check.status === 'skip') {
        skipped.set(check.why, [...(skipped.get(check.why) ?? []), check.name]);
        continue;
      }
      const seen = check.observed === null || check.observed === undefined ? check.why : quantity(check.observed, check.unit);
      body.append(
        element(
          'tr',
          { tone: toneOf(check.status), title: [check.why, check.advice].filter(Boolean).join(' — ') },
          element(
            'th',
            {},
            element('span', { cls: 'pf-verdict' }, element('span', { cls: 'pf-spoken' }, check.status)),
            check.name
          ),
          element('td', {}, seen, check.required ? element('small', {}, ` ${check.required}`) : null)
        )
      );
    }
    return [
      element('h3', {}, 'This node'),
      facts([
        ['Verdict', report.verdict],
        ['Machine', report.machine || 'unknown'],
        ['Platform', report.platform],
        ['Checked', `${new Date(report.decided_at).toLocaleString()} in ${report.took_s.toFixed(1)} s`]
      ]),
      element('div', { cls: 'pf-row' }, button('Move to another node…', this.doings.move)),
      element('table', { cls: 'pf-checks', label: 'Checks of this node' }, body),
      skipped.size
        ? list('Not checked', [...skipped].map(([why, all]) => element('span', {}, `${all.join(', ')}: ${why || 'no reason was given'}`)))
        : null
    ];
  }

  private link(path: string): HTMLElement {
    const made = button(path, () => this.doings.open(path), { title: `Open ${path}` });
    made.classList.add('pf-link');
    return made;
  }

  private async look(): Promise<void> {
    const answer = await this.feed.act('trash');
    if (answer.ok) {
      this.trashed = [...rows(answer['trash'])].reverse().slice(0, 100);
      this.redraw();
    } else {
      this.feed.say('bad', `The deleted files cannot be listed: ${answer.why ?? 'no reason was given'}`);
    }
  }

  private async act(action: string, done: string, fields: { [name: string]: string } = {}): Promise<Answer> {
    const answer = await this.feed.act(action, fields);
    if (answer.ok) {
      this.feed.say('ok', done);
    } else {
      this.feed.say('bad', `Not done: ${answer.why ?? 'no reason was given'}`);
    }
    if (action === 'bring_back' && answer.ok) {
      await this.look();
    }
    return answer;
  }

  private trashed: readonly Row[] | null = null;
  private readonly head = element('header', { cls: 'pf-head' });
  private readonly said = element('p', { cls: 'pf-said', role: 'status' });
  private readonly parts = new Map<string, HTMLElement>(
    ['held', 'conflicts', 'saving', 'packages', 'now', 'trash', 'node'].map(name => [name, element('section', { cls: `pf-${name}` })])
  );
}

function version(name: string, link: HTMLElement): HTMLElement {
  return element('div', { cls: 'pf-version' }, element('small', {}, name), link);
}

/** Of deletes that are held back: a sample; the count says how many. */
const SHOWN_HELD = 8;

/** How long ago a moment in seconds since the epoch was. */
function when(at: unknown): string {
  const moment = Number(at);
  return moment > 0 ? `${ago(Date.now() / 1000 - moment)} ago` : '';
}

/** Facts that change each second and are not drawn by the parts. */
const VOLATILE = new Set(['updated_at', 'oldest_pending_s', 'last_durable_at', 'epoch', 'capability']);

function facts(pairs: ReadonlyArray<readonly [string, string]>): HTMLElement {
  return element('dl', {}, ...pairs.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]));
}

function list(title: string, items: ReadonlyArray<Node | string>): HTMLElement {
  return element('div', {}, title ? element('h4', {}, title) : null, element('ul', {}, ...items.map(item => element('li', {}, item))));
}

function used(space: Space): number | null {
  return space.total_bytes === null || space.free_bytes === null || space.free_bytes === undefined
    ? null
    : space.total_bytes - space.free_bytes;
}

function gauge(name: string, value: number | null, total: number | null): HTMLElement {
  if (value === null || !total) {
    return bar(name, null, 'unknown');
  }
  return bar(name, value / total, `${bytes(value)} of ${bytes(total)}`);
}

function bar(name: string, ratio: number | null, said: string): HTMLElement {
  const meter = element('meter', { label: name });
  meter.max = 1;
  meter.high = 0.9;
  meter.value = ratio ?? 0;
  return element('div', { cls: 'pf-gauge' }, element('span', {}, name), ratio === null ? null : meter, element('span', {}, said));
}

function quantity(value: unknown, unit: string): string {
  if (typeof value !== 'number') {
    return String(value);
  }
  if (unit === 'B' || unit === 'B/s') {
    return `${bytes(value)}${unit.slice(1)}`;
  }
  return `${Number(value.toPrecision(4)).toLocaleString('en')} ${unit === 'count' ? '' : unit}`;
}

function toneOf(status: string): string {
  return { pass: 'ok', warn: 'warn', fail: 'bad', unknown: 'warn' }[status] ?? 'busy';
}

/** At the provider's list prices; the sync child knows which provider it is. */
function cost(usd: { readonly [verb: string]: number }): string {
  const parts = Object.values(usd);
  if (!parts.length) {
    return 'unknown';
  }
  const dollars = parts.reduce((sum, part) => sum + part, 0);
  return `$${dollars < 0.01 ? dollars.toFixed(4) : dollars.toFixed(2)} since start, at list prices`;
}
