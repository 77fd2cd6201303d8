/** Marks in the file browser: not saved yet, and copies that a conflict made. */

import type { FileBrowser } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';

import { names, text } from './facts';
import type { Feed } from './feed';

/** Asking for one folder costs the server a look into a table: not more often than this. */
const ASK_EVERY_MS = 1000;

interface Renderer {
  updateItemNode(node: HTMLElement, model: Contents.IModel, ...rest: unknown[]): void;
}
interface Listing {
  readonly renderer?: Renderer;
  update(): void;
}

export function markFiles(browser: FileBrowser, feed: Feed): void {
  // The listing offers no hook for one more class on a row; without it there are no marks, and nothing else changes.
  const listing = (browser as unknown as { listing?: Listing }).listing;
  const renderer = listing?.renderer;
  if (!listing || !renderer) {
    return;
  }
  let pending = new Set<string>();
  let copies = new Set<string>();
  let stamp = '';
  let askedAt = -ASK_EVERY_MS;
  let isAsking = false;
  const original = renderer.updateItemNode.bind(renderer);
  renderer.updateItemNode = (node, model, ...rest): void => {
    original(node, model, ...rest);
    const path = local(model.path);
    const mark = copies.has(path) ? 'conflict' : pending.has(path) ? 'pending' : '';
    if (mark) {
      node.dataset['pfMark'] = mark;
      node.title = `${node.title}\n${mark === 'pending' ? 'Not saved yet' : 'A copy that a conflict made'}`.trim();
    } else {
      delete node.dataset['pfMark'];
    }
  };

  const show = (waiting: ReadonlySet<string>): void => {
    const found = new Set((feed.sync?.status?.conflicts ?? []).map(row => text(row, 'copy')));
    const now = JSON.stringify([[...waiting], [...found]]);
    if (now !== stamp) {
      stamp = now;
      pending = new Set(waiting);
      copies = found;
      listing.update();
    }
  };
  const ask = async (folder: string): Promise<void> => {
    isAsking = true;
    askedAt = performance.now();
    const answer = await feed.act('waiting', { folder });
    isAsking = false;
    if (answer.ok && folder === local(browser.model.path)) {
      show(new Set([...names(answer['files']), ...names(answer['folders'])]));
    }
  };
  const look = (): void => {
    const status = feed.sync?.status;
    const told = status?.pending ?? [];
    if (!status || status.pending_files <= told.length) {
      show(withFolders(told));
    } else if (!isAsking && performance.now() - askedAt >= ASK_EVERY_MS) {
      void ask(local(browser.model.path)); // more wait than the status names: what of this folder does?
    }
  };
  browser.model.pathChanged.connect(() => {
    askedAt = -ASK_EVERY_MS;
    look();
  });
  feed.changed.connect(look);
}

/** A path in the folder, without the name of the drive. */
function local(path: string): string {
  return path.replace(/^[^/:]+:/, '');
}

/** The paths and every folder above one of them. */
function withFolders(paths: readonly string[]): Set<string> {
  const found = new Set(paths);
  for (const path of paths) {
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      found.add(path.slice(0, at));
    }
  }
  return found;
}
