// What the page knows and how it stays up to date: polls states, listens to events, looks after the chosen connection. Draws nothing.
import * as api from "./api";
import { told } from "./words";

export type Link = { state: "opening" | "live" } | { state: "lost"; since: number; retryAt: number } | { state: "locked"; wrong: boolean };

export interface Toast { key: number; title: string; text: string; kind: string }

export interface View {
  link: Link;
  connections: api.Connection[];
  chosen: string | null;
  sessions: api.Session[];
  history: api.History | null;
  settings: api.Settings | null;
  events: api.ProxyEvent[];  // the newest first
  toasts: Toast[];
}

const eventsKept = 200;
const toastsShown = 4;
const retryDelays = [1000, 2000, 3000, 5000];  // milliseconds

export class Store {
  view: View = { link: { state: "opening" }, connections: [], chosen: null, sessions: [], history: null, settings: null, events: [], toasts: [] };
  private readonly started = Date.now();
  private lastEvent = 0;
  private toasts = 0;
  private asking = false;
  private again = false;
  private looked = { sessions: 0, history: 0, settings: 0 };

  constructor(private readonly draw: () => void) {}

  start(): void {
    const fromAddress = () => this.choose(decodeURIComponent(location.hash.slice(1)) || null);
    addEventListener("hashchange", fromAddress);
    fromAddress();
    void this.follow();
    setInterval(() => { if (!document.hidden) void this.refresh(); }, 1000);
    document.addEventListener("visibilitychange", () => void this.refresh());
  }

  choose(id: string | null): void {
    if (id === this.view.chosen) return;
    this.looked = { sessions: 0, history: 0, settings: this.looked.settings };
    this.change({ chosen: id, sessions: [], history: null });
    void this.refresh();
  }

  toast(title: string, text: string, kind: string): void {
    const key = ++this.toasts;
    // What repeats takes the place of what it repeats.
    const others = this.view.toasts.filter((toast) => toast.title !== title);
    this.change({ toasts: [...others, { key, title, text, kind }].slice(-toastsShown) });
    setTimeout(() => this.dismiss(key), kind === "bad" ? 12_000 : 6000);
  }
  dismiss(key: number): void { this.change({ toasts: this.view.toasts.filter((toast) => toast.key !== key) }); }

  async give(id: string, what: api.Order): Promise<void> {
    const words = { reconnect: "Reconnecting", pause: "Paused", resume: "Resumed" };
    try {
      this.update(await api.order(id, what));
      this.toast(`${words[what]}: ${id}`, "", "neutral");
    } catch (error) {
      this.toast(`Could not ${what} ${id}`, error instanceof Error ? error.message : String(error), "bad");
    }
    void this.refresh();
  }

  unlock(token: string): void {
    api.setToken(token);
    this.change({ link: { state: "opening" } });
    void this.follow();
    void this.refresh();
  }

  private change(part: Partial<View>): void {
    this.view = { ...this.view, ...part };
    this.draw();
  }

  private update(connection: api.Connection): void {
    this.change({ connections: this.view.connections.map((each) => (each.connectionId === connection.connectionId ? connection : each)) });
  }

  /// Asks for what is due. One round at a time: a call meanwhile asks for another.
  private async refresh(): Promise<void> {
    if (this.view.link.state === "locked") return;
    if (this.asking) { this.again = true; return; }
    this.asking = true;
    try {
      do {
        this.again = false;
        await this.look();
      } while (this.again);
    } catch (error) {
      // That the proxy has gone is for the stream to say, which looks for it again.
      if (error instanceof api.Refused && error.status === 401) this.lock();
    } finally {
      this.asking = false;
    }
  }

  private async look(): Promise<void> {
    const connections = await api.connections();
    let chosen = this.view.chosen;
    if (chosen !== null && !connections.some((each) => each.connectionId === chosen)) chosen = null;
    if (chosen === null && connections.length === 1) chosen = connections[0]!.connectionId;
    this.change({ connections, chosen });
    const now = Date.now();
    if (now - this.looked.settings > 60_000) {
      this.looked.settings = now;
      this.change({ settings: await api.settings() });
    }
    if (chosen === null) return;
    if (now - this.looked.sessions > 1900) {
      this.looked.sessions = now;
      const sessions = await api.sessions(chosen);
      if (chosen === this.view.chosen) this.change({ sessions });
    }
    if (now - this.looked.history > 9900) {
      this.looked.history = now;
      const history = await api.history(chosen);
      if (chosen === this.view.chosen) this.change({ history });
    }
  }

  private lock(): void { this.change({ link: { state: "locked", wrong: sessionStorage.getItem("holdfast-token") !== null } }); }

  /// Listens to the events for as long as the page is open.
  private async follow(): Promise<void> {
    for (let failures = 0; ; ++failures) {
      try {
        await api.listen(this.lastEvent, () => {
          failures = 0;
          const back = this.view.link.state === "lost";
          this.change({ link: { state: "live" } });
          if (back) this.toast("The proxy answers again", "", "good");
          this.looked = { sessions: 0, history: 0, settings: 0 };
          void this.refresh();
        }, (event) => this.on(event));
      } catch (error) {
        if (error instanceof api.Refused && error.status === 401) return this.lock();
      }
      const since = this.view.link.state === "lost" ? this.view.link.since : Date.now();
      const delay = retryDelays[Math.min(failures, retryDelays.length - 1)]!;
      this.change({ link: { state: "lost", since, retryAt: Date.now() + delay } });
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }

  private on(event: api.ProxyEvent): void {
    this.lastEvent = event.id;
    // While a breaker is open the same attempt comes again and again: it is kept once, with how often it came.
    const before = this.view.events.find((each) => each.connectionId === event.connectionId);
    const repeats = before?.name === event.name && before.attempt === event.attempt && event.name === "database-reconnecting";
    const kept = repeats ? { ...event, times: (before.times ?? 1) + 1 } : event;
    this.change({ events: [kept, ...this.view.events.filter((each) => !repeats || each !== before)].slice(0, eventsKept) });
    if (event.name === "config-changed") this.looked.settings = 0;
    this.looked.history = this.looked.sessions = 0;
    // What happened before the page was opened stands in the list, and is no news.
    if (Date.parse(event.time) - (api.proxyNow() - Date.now()) < this.started - 1000) return;
    const { title, text, kind } = told(event);
    this.toast(event.connectionId === null ? title : `${title}: ${event.connectionId}`, text, kind);
    void this.refresh();
  }
}
