import { ILabShell, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { IStatusBar } from '@jupyterlab/statusbar';

import { Feed } from './feed';
import { Keeping } from './keeping';
import { markFiles } from './marks';
import { icon, Panel } from './panel';
import { StatusItem } from './statusitem';
import { count, words } from './words';

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
  const keeping = new Keeping(app, feed);
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
    const isUnsaved = words(feed.sync, feed.sinceS, feed.connected).unsaved || (!feed.connected && keeping.hasUnsaved);
    if (isUnsaved && !keeping.isLeaving) {
      event.preventDefault();
    }
  });
}

/** Save open documents, then wait until the bucket has everything. */
async function flush(app: JupyterFrontEnd, feed: Feed): Promise<boolean> {
  feed.say('busy', 'Saving everything…');
  if (app.commands.hasCommand('docmanager:save-all')) {
    await app.commands.execute('docmanager:save-all');
  }
  const answer = await feed.act('flush');
  const unsaved = Number(answer['unsaved_count'] ?? 0);
  const done = answer.ok && unsaved === 0;
  // The panel keeps what was said; the notification is for those who do not see the panel. A fresh one, never an update
  // of one that may not be drawn yet: JupyterLab then shows the old text for ever.
  if (done) {
    feed.say('ok', `Everything was in the bucket at ${new Date().toLocaleTimeString()}.`);
    Notification.success('Everything is in the bucket.', { autoClose: 4000 });
  } else {
    const why = `Not everything is saved: ${answer.why || `${count(unsaved, 'file')} still wait`}`;
    feed.say('bad', why);
    Notification.error(why, { autoClose: false });
  }
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
  feed.say('busy', 'Everything is saved; it is verified, then the platform is asked for another node…');
  const answer = await feed.act('move');
  if (answer.ok) {
    const done = 'The platform was asked for another node. This page reconnects by itself.';
    feed.say('ok', done);
    Notification.info(done, { autoClose: false });
  } else {
    const why = `This node was not given back: ${answer.why ?? 'no reason was given'}`;
    feed.say('bad', why);
    Notification.error(why, { autoClose: false });
  }
}

export default plugin;
