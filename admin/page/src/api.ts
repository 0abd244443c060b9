// Asks the admin port: state, history, sessions, settings, orders, and the stream of events. Knows the token, and nothing of the page.

export type State = "connecting" | "connected" | "reconnecting" | "failed" | "paused";

export interface Endpoint { address: string; role: string; healthy: boolean; latencyMs: number | null }

export interface Connection {
  connectionId: string; type: string; isConnected: boolean; isReconnecting: boolean; lastHealthCheck: string | null;
  connectionAttempts: number; lastError: string | null; state: State; breaker: string; nextAttemptAt: string | null;
  upstream: string | null; endpoints: Endpoint[]; sessions: { active: number; idle: number; waiting: number }; since: string;
  capabilities?: Capabilities;
}

export interface Capabilities {
  kind: string | null; deduplicates: boolean;
  members: { address: string; product: string | null; version: string | null; deduplicates: boolean; reason: string | null }[];
}

export interface Session {
  id: number; connectionId: string; client: string; user: string; database: string; application: string | null; state: string;
  backend: string | null; reconnections: number; protection: string; reason: string | null;
}

export interface History {
  latency: { time: string; ms: number | null; failed: number }[];
  outages: { from: string; to: string | null; reason: string }[];
  errors: { time: string; message: string }[];
}

type Section = Record<string, string | number>;
export interface ConnectionSettings {
  reconnect: Section; health: Section; sources: Record<string, Record<string, string>>; [other: string]: unknown;
}
export interface Settings { connections: Record<string, ConnectionSettings> }

export interface ProxyEvent { id: number; name: string; time: string; connectionId: string | null; times?: number; [field: string]: unknown }

/// The port answers, but not with what was asked for.
export class Refused extends Error {
  constructor(readonly status: number, message: string) { super(message); }
}

let token = sessionStorage.getItem("holdfast-token") ?? "";
export function setToken(value: string): void {
  token = value;
  sessionStorage.setItem("holdfast-token", value);
}

/// How far the proxy's clock is ahead of this one's, in milliseconds; nothing below what its Date header can tell.
let ahead = 0;
export function proxyNow(): number { return Date.now() + ahead; }

async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const answer = await fetch(path, { cache: "no-store", ...options, headers });
  const date = Date.parse(answer.headers.get("Date") ?? "");
  if (!Number.isNaN(date)) ahead = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try { message = JSON.parse(text).error.message; } catch { /* not ours: shown as it is */ }
  throw new Refused(answer.status, message);
}

async function json<T>(path: string, options: RequestInit = {}): Promise<T> {
  const answer = await ask(path, { signal: AbortSignal.timeout(8000), ...options });
  return (await answer.json()) as T;
}

const of = (id: string) => `/api/v1/connections/${encodeURIComponent(id)}`;

export const connections = () => json<Connection[]>("/api/v1/connections");
export const history = (id: string) => json<History>(`${of(id)}/history`);
export const sessions = (id: string) => json<Session[]>(`/api/v1/sessions?connection=${encodeURIComponent(id)}`);
export const settings = () => json<Settings>("/api/v1/config");
export type Order = "reconnect" | "pause" | "resume";
export const order = (id: string, what: Order) => json<Connection>(`${of(id)}/${what}`, { method: "POST" });

/// Reads the stream of events from after `since` until it ends, which it tells by throwing.
export async function listen(since: number, opened: () => void, on: (event: ProxyEvent) => void): Promise<never> {
  const gone = new AbortController();
  // The proxy sends a comment every 15 s: silence for longer means that nobody is there.
  let silence = setTimeout(() => gone.abort(), 10_000);
  try {
    const answer = await ask(`/api/v1/events?since=${since}`, { signal: gone.signal });
    opened();
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      clearTimeout(silence);
      silence = setTimeout(() => gone.abort(), 40_000);
      const { done, value } = await reader.read();
      if (done) throw new Error("the proxy ended the stream");
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const line = (name: string) => block.split("\n").find((each) => each.startsWith(name))?.slice(name.length);
        const data = line("data: ");
        if (data !== undefined) on({ ...JSON.parse(data), name: line("event: ") ?? "" });
      }
    }
  } finally {
    clearTimeout(silence);
  }
}
