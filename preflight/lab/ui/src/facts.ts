/** What the server says; field names are those of the Python side. */

export interface Row {
  readonly [name: string]: unknown;
}

export interface SyncStatus {
  readonly state: string;
  readonly store: string;
  readonly why: string;
  readonly hint: string;
  readonly pending_files: number;
  readonly pending_bytes: number;
  readonly oldest_pending_s: number;
  readonly pending: readonly string[];
  readonly last_durable_at: number | null;
  readonly held: readonly Row[];
  readonly held_count: number;
  readonly conflicts: readonly Row[];
  readonly problems: readonly Row[];
  readonly requests: { readonly [verb: string]: number };
  /** By verb, and for traffic; empty where nothing is known of the provider's prices. */
  readonly cost_usd: { readonly [verb: string]: number };
  readonly bytes_sent: number;
  readonly bytes_received: number;
  readonly files: number;
  readonly bytes: number;
  readonly restore: {
    readonly files_done: number;
    readonly files_total: number | null;
    readonly bytes_done: number;
    readonly bytes_total: number | null;
  };
  readonly left_by_previous: readonly string[];
  readonly mirrors: readonly Row[];
  readonly updated_at: number;
}

export interface SyncSeen {
  readonly status: SyncStatus | null;
  /** Seconds since the sync wrote it, when the server read it. */
  readonly age_s: number | null;
  readonly stale: boolean;
  readonly stale_after_s: number;
}

export interface Check {
  readonly name: string;
  readonly status: string;
  readonly observed: unknown;
  readonly required: string;
  readonly unit: string;
  readonly why: string;
  readonly advice: string;
}

export interface Report {
  readonly verdict: string;
  readonly machine: string;
  readonly platform: string;
  readonly decided_at: string;
  readonly took_s: number;
  readonly checks: readonly Check[];
}

export interface Packages {
  readonly state: string;
  readonly done: number;
  readonly total: number;
  readonly why: string;
  readonly failed: readonly string[];
}

export interface Space {
  readonly total_bytes: number | null;
  readonly used_bytes?: number | null;
  readonly free_bytes?: number | null;
}

export interface Gauge {
  readonly name: string;
  readonly text: string;
  readonly ratio: number | null;
}

export interface Documents {
  /** Of the server's process; "" where documents are not shared. */
  readonly session: string;
  /** Which folder is served here. */
  readonly folder: string;
}

export interface Snapshot {
  readonly sync: SyncSeen;
  readonly report: Report | null;
  readonly memory: Space;
  readonly disk: Space;
  readonly gpus: readonly Gauge[];
  readonly packages: Packages | null;
  readonly documents: Documents;
}

export interface Answer {
  readonly ok: boolean;
  readonly why?: string;
  readonly [name: string]: unknown;
}

/** A list of rows in an answer of unknown shape. */
export function rows(value: unknown): readonly Row[] {
  return Array.isArray(value) ? value.filter((row): row is Row => typeof row === 'object' && row !== null) : [];
}

/** A list of texts in an answer of unknown shape. */
export function names(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((name): name is string => typeof name === 'string') : [];
}

/** A field as text; "" when it is not there. */
export function text(row: Row, name: string): string {
  const value = row[name];
  return typeof value === 'string' ? value : value === undefined || value === null ? '' : String(value);
}
