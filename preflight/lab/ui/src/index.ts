import { ILabShell, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { IStatusBar } from '@jupyterlab/statusbar';

import { Feed } from './feed';
import { markFiles } from './marks';
import { icon, Panel } from './panel';
import { StatusItem } from './statusitem';
import { words } from './words';

const CATEGORY = 'Preflight';
const COMMANDS = { flush: 'preflight:flush', move: 'preflight:move', show: 'preflight:show' };

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'preflight-lab:plugin',
  description: 'Shows what is saved, what the node is worth, and what needs a person.',
  autoStart: true,
  optional: [ILabShell, IStatusBar, ICommandPalette, IDefaultFileBrowser],
  activate
};

function activate(
  app: JupyterFrontEnd,
  shell: ILabShell | null,
  statusBar: IStatusBar | null,
  palette: ICommandPalette | null,
  browser: IDefaultFileBrowser | null
): void {
  const { commands, serviceManager } = app;
  const feed = new Feed(serviceManager);
  const show = (): void => shell?.activateById('preflight-panel');

  commands.addCommand(COMMANDS.show, { label: 'Show What Is Saved', icon, execute: show });
  commands.addCommand(COMMANDS.flush, { label: 'Save Everything Now', execute: () => flush(app, feed) });
  commands.addCommand(COMMANDS.move, { label: 'Move to Another Node…', execute: () => move(app, feed) });
  Object.values(COMMANDS).forEach(command => palette?.addItem({ command, category: CATEGORY }));

  const panel = new Panel(feed, {
    open: path => void commands.execute('docmanager:open', { path }),
    flush: () => void commands.execute(COMMANDS.flush),
    move: () => void commands.execute(COMMANDS.move)
  });
  shell?.add(panel, 'right', { rank: 900, type: 'Preflight' });
  statusBar?.registerStatusItem('preflight-lab:saved', {
    align: 'left',
    rank: 0,
    item: new StatusItem(feed, show)
  });
  if (browser) {
    markFiles(browser, feed);
  }
  window.addEventListener('beforeunload', event => {
    if (words(feed.sync, feed.sinceS, feed.connected).unsaved) {
      event.preventDefault();
    }
  });
}

/** Save open documents, then wait until the bucket has everything. */
async function flush(app: JupyterFrontEnd, feed: Feed): Promise<boolean> {
  if (app.commands.hasCommand('docmanager:save-all')) {
    await app.commands.execute('docmanager:save-all');
  }
  const id = Notification.emit('Saving everything…', 'in-progress', { autoClose: false });
  const answer = await feed.act('flush');
  const unsaved = Number(answer['unsaved_count'] ?? 0);
  const done = answer.ok && unsaved === 0;
  Notification.update({
    id,
    type: done ? 'success' : 'error',
    message: done ? 'Everything is in the bucket.' : `Not everything is saved: ${answer.why || `${unsaved} files wait`}`,
    autoClose: done ? 4000 : false
  });
  return done;
}

async function move(app: JupyterFrontEnd, feed: Feed): Promise<void> {
  const asked = await showDialog({
    title: 'Move to another node?',
    body:
      'Everything is saved and verified first. Then this node is given back: kernels and terminals end, and the page ' +
      'comes back when the next node is ready, usually after some minutes. This node is not offered to you again for 48 hours.',
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Save and Move' })],
    defaultButton: 0
  });
  if (!asked.button.accept || !(await flush(app, feed))) {
    return;
  }
  const answer = await feed.act('move');
  if (answer.ok) {
    Notification.info('The platform was asked for another node. This page reconnects by itself.', { autoClose: false });
  } else {
    Notification.error(`This node was not given back: ${answer.why ?? 'no reason was given'}`, { autoClose: false });
  }
}

export default plugin;
