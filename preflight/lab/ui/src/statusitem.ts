/** The line in the status bar; a click opens the panel. */

import { Widget } from '@lumino/widgets';

import type { Feed } from './feed';
import { words } from './words';

export class StatusItem extends Widget {
  constructor(
    private readonly feed: Feed,
    open: () => void
  ) {
    super();
    this.addClass('pf-status');
    this.button = document.createElement('button');
    this.button.type = 'button';
    this.button.addEventListener('click', open);
    this.dot = document.createElement('span');
    this.dot.className = 'pf-dot';
    this.dot.setAttribute('aria-hidden', 'true');
    this.label = document.createElement('span');
    this.button.append(this.dot, this.label);
    // Announced when the tone changes, not each second.
    this.spoken = document.createElement('span');
    this.spoken.className = 'pf-spoken';
    this.spoken.setAttribute('role', 'status');
    this.node.append(this.button, this.spoken);
    feed.changed.connect(this.redraw, this);
    this.redraw();
  }

  private redraw(): void {
    const said = words(this.feed.sync, this.feed.sinceS, this.feed.connected);
    if (this.label.textContent !== said.short) {
      this.label.textContent = said.short;
      this.button.title = said.advice || said.short;
    }
    if (this.node.dataset['tone'] !== said.tone) {
      this.node.dataset['tone'] = said.tone;
      this.spoken.textContent = said.short;
    }
  }

  private readonly button: HTMLButtonElement;
  private readonly dot: HTMLSpanElement;
  private readonly label: HTMLSpanElement;
  private readonly spoken: HTMLSpanElement;
}
