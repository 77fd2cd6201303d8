/**
 * Text that is typed while no node is there must not be lost: not when the next node starts the document anew, not when
 * the page is loaded anew meanwhile. So each shared document with edits that the bucket may lack is kept in the browser,
 * and brought to the server when the node or the page has changed. The server merges it or makes a copy beside the file.
 */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import { encodeStateAsUpdate, type Doc, type Transaction } from 'yjs';

import type { Feed } from './feed';
import { Shelf, type Kept } from './shelf';
import { words } from './words';

/** How long typing goes on before it is kept; large documents wait longer, so that keeping never costs 5 % of the time. */
const AFTER_MS = 300;
const COST_FACTOR = 20;
/** The server saves a second after an edit, and then says so; a status of before that proves nothing. */
const SETTLED_MS = 4000;

interface Brought {
  readonly outcome: 'heals' | 'same' | 'merged' | 'open' | 'copy';
  readonly copy: string;
}

/** One open document. */
interface Open {
  readonly key: string;
  readonly context: DocumentRegistry.Context;
  readonly doc: Doc;
  readonly session: string;
  readonly type: string;
  path: string;
  timer: number;
  editedAt: number;
  isKept: boolean;
}

export class Keeping {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly feed: Feed
  ) {
    const { docRegistry } = app;
    const follow = (name: string): void => void docRegistry.addWidgetExtension(name, { createNew: (_, context) => this.follow(context) });
    for (const factory of docRegistry.widgetFactories()) {
      follow(factory.name);
    }
    docRegistry.changed.connect((_, { type, change, name }) => {
      if (type === 'widgetFactory' && change === 'added' && name) {
        follow(name);
      }
    });
    feed.changed.connect(this.look, this);
    void app.restored.then(() => this.bringOrphans());
  }

  /** Set when the page is about to be loaded anew by us: nothing is lost then. */
  isLeaving = false;

  /** Whether a document holds edits that no server has said to have saved. */
  get hasUnsaved(): boolean {
    return [...this.open].some(one => one.isKept);
  }

  private follow(context: DocumentRegistry.Context): undefined {
    if (this.seen.has(context)) {
      return;
    }
    this.seen.add(context);
    void context.ready.then(() => this.watch(context)).catch(() => undefined);
  }

  private watch(context: DocumentRegistry.Context): void {
    const session = this.feed.documents?.session ?? '';
    const doc = (context.model.sharedModel as unknown as { ydoc?: Doc }).ydoc;
    if (!context.model.collaborative || !doc) {
      return;
    }
    if (!session) {
      // The first snapshot is still on its way: only with it is known whose session this is.
      const later = (): void => {
        if (this.feed.documents?.session) {
          this.feed.changed.disconnect(later);
          this.watch(context);
        }
      };
      this.feed.changed.connect(later);
      return;
    }
    const one: Open = {
      key: `${this.shelf.tab}/${(this.count += 1)}`,
      context,
      doc,
      session,
      type: context.contentsModel?.type ?? 'file',
      path: context.localPath,
      timer: 0,
      editedAt: 0,
      isKept: false
    };
    this.open.add(one);
    context.pathChanged.connect(() => {
      one.path = context.localPath;
    });
    doc.on('update', (_update: Uint8Array, _origin: unknown, _doc: Doc, transaction: Transaction) => {
      if (transaction.local) {
        this.edited(one);
      }
    });
  }

  private edited(one: Open): void {
    one.editedAt = performance.now();
    one.isKept = true;
    if (!one.timer) {
      one.timer = window.setTimeout(() => {
        one.timer = 0;
        void this.keep(one);
      }, Math.max(AFTER_MS, COST_FACTOR * this.costMs));
    }
  }

  private async keep(one: Open): Promise<void> {
    const began = performance.now();
    const row = this.row(one);
    this.costMs = performance.now() - began;
    await this.shelf.put(row);
  }

  private row(one: Open): Kept {
    const folder = this.feed.documents?.folder ?? '';
    return { key: one.key, tab: this.shelf.tab, folder, path: one.path, type: one.type, session: one.session, at: Date.now(), update: encodeStateAsUpdate(one.doc) };
  }

  /** Forget what is in the bucket; and notice when another server answers. */
  private look(): void {
    const session = this.feed.documents?.session ?? '';
    if (session && this.session && session !== this.session) {
      void this.moved();
    }
    this.session = session || this.session;
    const now = performance.now();
    const isSaved = this.feed.sync?.status?.state === 'saved' && !words(this.feed.sync, this.feed.sinceS, this.feed.connected).unsaved;
    for (const one of this.open) {
      const heardAfterMs = now - this.feed.sinceS * 1000 - one.editedAt;
      const isClean = one.context.isDisposed || !one.context.model.dirty;
      if (one.isKept && !one.timer && isSaved && isClean && heardAfterMs > SETTLED_MS && this.belongs(one)) {
        one.isKept = false;
        void this.shelf.drop(one.key);
      }
      if (one.context.isDisposed && !one.isKept) {
        this.open.delete(one);
      }
    }
  }

  /** Whether the server that speaks now is one that the document's own connection is accepted by. */
  private belongs(one: Open): boolean {
    return one.session === this.session || this.accepted.has(`${one.session} ${this.session}`);
  }

  /** Another server: what it does not go on with is brought to it. */
  private async moved(): Promise<void> {
    const copies: string[] = [];
    let isOver = false;
    for (const one of [...this.open]) {
      const brought = await this.bring(this.row(one), !one.context.isDisposed);
      if (!brought) {
        continue; // the row stays, and is brought when the page is loaded again
      }
      if (brought.outcome === 'heals') {
        this.accepted.add(`${one.session} ${this.session}`);
        continue;
      }
      isOver ||= !one.context.isDisposed;
      copies.push(...(brought.copy ? [brought.copy] : []));
      one.isKept = false;
      window.clearTimeout(one.timer);
      this.open.delete(one);
      await this.shelf.drop(one.key);
    }
    copies.forEach(copy => this.tell(copy));
    if (isOver) {
      await this.loadAgain(copies);
    }
  }

  private async loadAgain(copies: readonly string[]): Promise<void> {
    const kept = copies.length
      ? `What only this page held is kept beside the file, as ${copies.map(copy => `“${copy}”`).join(', ')}.`
      : 'Nothing that you typed here is lost.';
    // There is no "later": what is typed into a document that no server knows would have nowhere to go.
    const again = { title: 'This page is older than what is saved', body: `A new node was started, and a file that is open here has changed since. ${kept} Load the page again to go on.` };
    while (!(await showDialog({ ...again, buttons: [Dialog.okButton({ label: 'Load Again' })] })).button.accept) {
      continue;
    }
    this.isLeaving = true;
    window.location.reload();
  }

  /** What pages before this one left. */
  private async bringOrphans(): Promise<void> {
    await this.feed.first;
    const folder = this.feed.documents?.folder;
    if (!this.feed.documents?.session) {
      return;
    }
    for (const row of await this.shelf.orphans()) {
      if (row.folder !== folder) {
        continue; // it waits for its own folder
      }
      let brought = await this.bring(row, false);
      if (brought?.outcome === 'open') {
        const opened = this.app.commands.execute('docmanager:open', { path: row.path });
        await opened.then((widget?: { context?: DocumentRegistry.Context }) => widget?.context?.ready).catch(() => undefined);
        brought = await this.bring(row, false, true);
      }
      if (brought) {
        await this.shelf.drop(row.key);
      }
      if (brought?.copy) {
        this.tell(brought.copy);
      } else if (brought?.outcome === 'merged') {
        Notification.success(`What you had typed in “${row.path}” is back.`, { autoClose: 8000 });
      }
    }
  }

  private tell(copy: string): void {
    Notification.warning(`What a page held that could not be merged is kept as “${copy}”.`, {
      autoClose: false,
      actions: [{ label: 'Open', callback: () => void this.app.commands.execute('docmanager:open', { path: copy }) }]
    });
  }

  private async bring(row: Kept, isOpen: boolean, isLastTry = false): Promise<Brought | null> {
    const { path, type, session, update } = row;
    const asked = new URLSearchParams({ path, type, session, browser: browser(), open: isOpen ? '1' : '', last: isLastTry ? '1' : '' });
    return (await this.feed.bring(asked.toString(), update)) as Brought | null;
  }

  private readonly shelf = new Shelf();
  private readonly open = new Set<Open>();
  private readonly seen = new WeakSet<DocumentRegistry.Context>();
  /** Pairs "old session, new session" that the server goes on with. */
  private readonly accepted = new Set<string>();
  private session = '';
  private count = 0;
  private costMs = 0;
}

function browser(): string {
  return ['Edg', 'OPR', 'Firefox', 'Chrome', 'Safari'].find(name => navigator.userAgent.includes(`${name}/`)) ?? 'browser';
}
