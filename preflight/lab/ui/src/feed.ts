/** The page's knowledge of the node: one snapshot on load, then what the server pushes. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection, type ServiceManager } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';

import type { Answer, Documents, Packages, Snapshot, SyncSeen } from './facts';
import type { Tone } from './words';

export interface Said {
  readonly tone: Tone;
  readonly text: string;
}

const STATUS_EVENT = 'https://preflight-lab.example/events/status/v1';
/** The slow facts (memory, GPU, report) while the panel is open; the sync itself is pushed. */
const REFRESH_MS = 5000;
const SILENT_S = 12;
/** "2 s ago" has to count. */
const TICK_MS = 1000;

export class Feed {
  constructor(private readonly services: ServiceManager.IManager) {
    this.first = this.refresh();
    void this.listen();
    window.setInterval(() => this._changed.emit(), TICK_MS);
    window.setInterval(() => {
      // The agent speaks every 10 s: longer silence means that the pushes do not arrive, or that it is dead. Ask.
      if (this.watched || !this._connected || this.sinceS > SILENT_S) {
        void this.refresh();
      }
    }, REFRESH_MS);
  }

  /** Resolves when the first question was answered, or was not. */
  readonly first: Promise<void>;

  /** Whether somebody looks at the slow facts. */
  watched = false;

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get snapshot(): Snapshot | null {
    return this._snapshot;
  }

  get sync(): SyncSeen | null {
    return this._sync;
  }

  get packages(): Packages | null {
    return this._packages;
  }

  get documents(): Documents | null {
    return this._documents;
  }

  get connected(): boolean {
    return this._connected;
  }

  /** Seconds since the server said what `sync` holds. */
  get sinceS(): number {
    return (performance.now() - this._heardAt) / 1000;
  }

  async refresh(): Promise<void> {
    try {
      const snapshot = (await this.request('snapshot')) as Snapshot;
      this._snapshot = snapshot;
      this.hear(snapshot.sync, snapshot.packages, snapshot.documents);
    } catch {
      this._connected = false;
      this._changed.emit();
    }
  }

  /** What the last errand came to, for the panel. */
  get said(): Said | null {
    return this._said;
  }

  say(tone: Tone, text: string): void {
    this._said = { tone, text };
    this._changed.emit();
  }

  /** Ask for one of the server's actions; never throws: silence is an answer with `ok: false`. */
  async act(action: string, fields: { [name: string]: string } = {}): Promise<Answer> {
    try {
      return (await this.request('act', { method: 'POST', body: JSON.stringify({ action, ...fields }) })) as Answer;
    } catch (error) {
      return { ok: false, why: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Give the server a document as this page holds it; null when that did not work. */
  async bring(query: string, update: Uint8Array): Promise<unknown> {
    try {
      const headers = { 'Content-Type': 'application/octet-stream' };
      return await this.request(`bring?${query}`, { method: 'POST', headers, body: update as BodyInit });
    } catch (error) {
      console.warn('What this page held was not taken', error);
      return null;
    }
  }

  private async request(path: string, init: RequestInit = {}): Promise<unknown> {
    const settings = this.services.serverSettings;
    const url = URLExt.join(settings.baseUrl, 'preflight/api', path);
    const response = await ServerConnection.makeRequest(url, init, settings);
    if (!response.ok) {
      throw await ServerConnection.ResponseError.create(response);
    }
    return response.json();
  }

  private async listen(): Promise<void> {
    for await (const event of this.services.events.stream) {
      if (event.schema_id === STATUS_EVENT) {
        this.hear(
          event['sync'] as unknown as SyncSeen,
          (event['packages'] ?? null) as unknown as Packages | null,
          event['documents'] as unknown as Documents
        );
      }
    }
  }

  private hear(sync: SyncSeen, packages: Packages | null, documents: Documents): void {
    this._documents = documents;
    this._sync = sync;
    this._packages = packages;
    this._heardAt = performance.now();
    this._connected = true;
    this._changed.emit();
  }

  private _changed = new Signal<this, void>(this);
  private _snapshot: Snapshot | null = null;
  private _sync: SyncSeen | null = null;
  private _packages: Packages | null = null;
  private _documents: Documents | null = null;
  private _heardAt = performance.now();
  private _connected = true;
  private _said: Said | null = null;
}
