/** From facts to words: pure, so that every sentence is tested without a browser. */

import type { SyncSeen } from './facts';

export type Tone = 'ok' | 'busy' | 'warn' | 'bad';

export interface Words {
  readonly tone: Tone;
  /** What the status bar shows. */
  readonly short: string;
  /** What is wrong and what to do; "" when nothing is. */
  readonly advice: string;
  /** What the machine said, for who wants to know; people who only want to work need not read it. */
  readonly detail?: string;
  /** Whether closing the page now may lose something. */
  readonly unsaved: boolean;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export function ago(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 60) {
    return `${Math.floor(s)} s`;
  }
  if (s < 3600) {
    return `${Math.floor(s / 60)} min`;
  }
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
}

/**
 * @param seen what the server said
 * @param sinceS seconds since it said so
 * @param connected whether the server still pushes
 */
export function words(seen: SyncSeen | null, sinceS: number, connected: boolean): Words {
  if (!connected) {
    return {
      tone: 'warn',
      short: 'Not known whether saved: no connection',
      advice: 'This page lost its connection to JupyterLab; it tries again by itself.',
      unsaved: seen?.status ? seen.status.pending_files > 0 : false
    };
  }
  if (!seen || !seen.status || seen.age_s === null) {
    return {
      tone: 'warn',
      short: 'Not known whether saved',
      advice: 'The saving agent has not said anything yet. If this stays, look at the log for “sync”.',
      unsaved: true
    };
  }
  const age = seen.age_s + sinceS;
  const status = seen.status;
  const pending = status.pending_files > 0;
  if (age > seen.stale_after_s) {
    return {
      tone: 'bad',
      short: `Not known whether saved: silent for ${ago(age)}`,
      advice: 'The saving agent is silent. It is started again by itself; download what you cannot lose.',
      unsaved: true
    };
  }
  const waiting = `${count(status.pending_files, 'file')} pending (${bytes(status.pending_bytes)}, ${ago(
    status.oldest_pending_s + age
  )})`;
  const why = status.why || 'no reason was given';
  const say = (tone: Tone, short: string, advice: string, unsaved: boolean): Words => ({ tone, short, advice, unsaved });
  switch (status.state) {
    case 'saved':
      if (pending) {
        return say('busy', waiting, '', true);
      }
      if (status.problems.length > 0) {
        return say('warn', `${count(status.problems.length, 'file')} cannot be saved`, status.hint, false);
      }
      if (status.conflicts.length > 0) {
        const met = count(status.conflicts.length, 'conflict');
        return say('warn', `${savedAt(status.last_durable_at, status.updated_at, age)}; ${met}`, 'Two versions of a file: keep one of them, in the panel.', false);
      }
      return say('ok', savedAt(status.last_durable_at, status.updated_at, age), '', false);
    case 'saving':
      return say('busy', pending ? waiting : 'Saving…', '', true);
    case 'starting':
      return say('busy', 'Starting to save…', '', pending);
    case 'restoring': {
      const { files_done: done, files_total: total } = status.restore;
      return say('busy', `Restoring: ${done}${total === null ? '' : ` of ${total}`} files`, '', false);
    }
    case 'stopping':
      return say('warn', pending ? `Stopping: ${waiting}` : 'Stopping', status.hint, pending);
    case 'offline':
      return {
        ...say('bad', `Not saved: the bucket does not answer${pending ? `; ${waiting}` : ''}`, sentence(status.hint || 'edits wait here and go up when it answers'), pending),
        detail: status.why
      };
    case 'held':
      return say(
        'warn',
        pending ? waiting : `Saved; ${count(status.held_count, 'delete')} held back`,
        `${status.why || 'Many files vanished at once'}. Release the deletes in the panel if you meant them.`,
        pending
      );
    case 'fenced':
      return say('bad', 'Not saved: another node took over', advise(status), true);
    case 'failed':
      return say('bad', `Not saved: ${why}`, status.hint || why, true);
    default:
      return say('warn', `Not known whether saved: ${status.state}`, advise(status), true);
  }
}

function advise(status: { why: string; hint: string }): string {
  return [status.why, status.hint].filter(Boolean).join(' — ');
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}

function savedAt(lastDurableAt: number | null, updatedAt: number, ageS: number): string {
  if (lastDurableAt === null) {
    return 'Saved';
  }
  return `Saved ${ago(updatedAt - lastDurableAt + ageS)} ago`;
}
