// The panel of one connection: what holds, why, what to do; endpoints, sessions, history, settings, events.
import { Actions } from "./actions";
import type { Connection, ConnectionSettings, ProxyEvent, Session } from "./api";
import { Badge } from "./badge";
import { Chart } from "./chart";
import type { Store } from "./store";
import { advice, ago, clock, meaning, milliseconds, repetition, span, told } from "./words";

function Facts({ connection }: { connection: Connection }) {
  const { active, idle, waiting } = connection.sessions;
  const facts: [string, string][] = [
    ["in this state", `since ${clock(connection.since)}`],
    ["upstream", connection.upstream ?? "none"],
    ["circuit breaker", connection.breaker.replace("_", " ")],
    ["failed attempts", String(connection.connectionAttempts)],
    ["last health check", connection.lastHealthCheck === null ? "none yet" : ago(connection.lastHealthCheck)],
    ["sessions", `${active} active, ${idle} idle, ${waiting} waiting`],
  ];
  if (connection.capabilities) facts.push(["a write sent again", repetition(connection.capabilities)]);
  return <dl class="facts">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

function LastError({ connection, store }: { connection: Connection; store: Store }) {
  const past = store.view.history?.errors ?? [];
  const message = connection.lastError ?? past.at(-1)?.message;
  if (message === undefined) return null;
  const when = (past.findLast((each) => each.message === message) ?? past.at(-1))?.time;
  const over = connection.isConnected;
  return (
    <section class={over ? "error past" : "error"} aria-labelledby="error-heading">
      <h3 id="error-heading">{over ? "Last error, now over" : "Last error"}{when && <small> {clock(when)}, {ago(when)}</small>}</h3>
      <pre tabIndex={0} aria-labelledby="error-heading">{message}</pre>
      {!over && <p><strong>What to do:</strong> {advice(message)}</p>}
    </section>
  );
}

function Endpoints({ connection }: { connection: Connection }) {
  return (
    <section class="scrolls" tabIndex={0} aria-label="Endpoints">
      <table>
        <caption>Endpoints</caption>
        <thead><tr><th scope="col">address</th><th scope="col">role</th><th scope="col">health</th><th scope="col">latency</th></tr></thead>
        <tbody>
          {connection.endpoints.map((each) => (
            <tr key={each.address}>
              <th scope="row">{each.address}</th><td>{each.role.replace("_", " ")}</td>
              <td>{each.healthy ? "answers" : "does not answer"}</td><td>{each.latencyMs === null ? "–" : milliseconds(each.latencyMs)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const sessionsShown = 100;

function Sessions({ sessions }: { sessions: Session[] }) {
  const columns = ["id", "state", "client", "user", "database", "application", "protection", "reconnections"];
  return (
    <section class="scrolls" tabIndex={0} aria-label="Client sessions">
      <table>
        <caption>Client sessions {sessions.length > sessionsShown && <small>the first {sessionsShown} of {sessions.length}</small>}</caption>
        <thead><tr>{columns.map((name) => <th scope="col" key={name}>{name}</th>)}</tr></thead>
        <tbody>
          {sessions.length === 0 && <tr><td colSpan={columns.length}>no client is connected</td></tr>}
          {sessions.slice(0, sessionsShown).map((each) => (
            <tr key={each.id}>
              <th scope="row">{each.id}</th><td>{each.state}</td><td>{each.client}</td><td>{each.user}</td><td>{each.database}</td>
              <td>{each.application ?? "–"}</td>
              <td>{each.protection.replace("_", " ")}{each.reason !== null && `: ${each.reason}`}</td><td>{each.reconnections}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Settings({ settings }: { settings: ConnectionSettings }) {
  return (
    <details>
      <summary>Settings and where they come from</summary>
      <div class="scrolls" tabIndex={0} role="region" aria-label="Settings">
        <table>
          <thead><tr><th scope="col">setting</th><th scope="col">value</th><th scope="col">source</th></tr></thead>
          <tbody>
            {(["reconnect", "health"] as const).flatMap((section) => Object.entries(settings[section]).map(([name, value]) => (
              <tr key={section + name}>
                <th scope="row">{section}.{name}</th><td>{value}</td><td>{settings.sources[section]?.[name] ?? "default"}</td>
              </tr>
            )))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Events({ events }: { events: ProxyEvent[] }) {
  return (
    <section aria-labelledby="events-heading">
      <h3 id="events-heading">Recent events</h3>
      {events.length === 0 && <p>None yet.</p>}
      <ol class="events">
        {events.slice(0, 20).map((event) => {
          const { title, text, kind } = told(event);
          return <li key={`${event.id} ${event.time}`} class={kind}><time dateTime={event.time}>{clock(event.time)}</time> <strong>{title}</strong> {text}{event.times !== undefined && ` (${event.times} times)`}</li>;
        })}
      </ol>
    </section>
  );
}

export function Detail({ connection, store }: { connection: Connection; store: Store }) {
  const { history, sessions, settings, events } = store.view;
  const id = connection.connectionId;
  const mine = settings?.connections[id];
  const lost = store.view.link.state === "lost";
  return (
    <article class={lost ? "detail stale" : "detail"} aria-labelledby="detail-heading">
      <header>
        <h2 id="detail-heading">{id}</h2> <Badge connection={connection} />
        <Actions connection={connection} store={store} disabled={lost} />
      </header>
      <p>{meaning(connection)} {connection.state === "paused" && `Paused for ${span(Date.now() - Date.parse(connection.since))}.`}</p>
      <LastError connection={connection} store={store} />
      <Facts connection={connection} />
      <Endpoints connection={connection} />
      {history && <section aria-labelledby="history-heading"><h3 id="history-heading">The last hour</h3><Chart history={history} key={id} /></section>}
      <Sessions sessions={sessions} />
      {mine && <Settings settings={mine} />}
      <Events events={events.filter((event) => event.connectionId === id)} />
    </article>
  );
}
