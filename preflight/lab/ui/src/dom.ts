/** Elements without a framework: text is always text, never markup. */

export type Child = Node | string | null | false;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  options: { cls?: string; title?: string; label?: string; role?: string; tone?: string } = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (options.cls) {
    made.className = options.cls;
  }
  if (options.title) {
    made.title = options.title;
  }
  if (options.label) {
    made.setAttribute('aria-label', options.label);
  }
  if (options.role) {
    made.setAttribute('role', options.role);
  }
  if (options.tone) {
    made.dataset['tone'] = options.tone;
  }
  made.append(...children.filter((child): child is Node | string => child !== null && child !== false));
  return made;
}

export function button(text: string, click: () => void, options: { title?: string; label?: string } = {}): HTMLButtonElement {
  const made = element('button', { cls: 'pf-button', ...options }, text);
  made.type = 'button';
  made.addEventListener('click', click);
  return made;
}
