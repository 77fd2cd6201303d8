/** Marks in the file browser: not saved yet, and copies that a conflict made. */

import type { FileBrowser } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';

import { text } from './facts';
import type { Feed } from './feed';

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
  const original = renderer.updateItemNode.bind(renderer);
  renderer.updateItemNode = (node, model, ...rest): void => {
    original(node, model, ...rest);
    const path = model.path.replace(/^[^/:]+:/, '');
    const mark = copies.has(path) ? 'conflict' : isPending(pending, path, model.type === 'directory') ? 'pending' : '';
    if (mark) {
      node.dataset['pfMark'] = mark;
      node.title = `${node.title}\n${mark === 'pending' ? 'Not saved yet' : 'A copy that a conflict made'}`.trim();
    } else {
      delete node.dataset['pfMark'];
    }
  };
  feed.changed.connect(() => {
    const status = feed.sync?.status;
    const now = JSON.stringify([status?.pending, status?.conflicts]);
    if (now !== stamp) {
      stamp = now;
      pending = new Set(status?.pending ?? []);
      copies = new Set((status?.conflicts ?? []).map(row => text(row, 'copy')));
      listing.update();
    }
  });
}

function isPending(pending: ReadonlySet<string>, path: string, isFolder: boolean): boolean {
  if (!isFolder) {
    return pending.has(path);
  }
  for (const one of pending) {
    if (one.startsWith(`${path}/`)) {
      return true;
    }
  }
  return false;
}
