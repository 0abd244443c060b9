// The page: heading, what the link to the proxy is worth, the list of connections, the chosen one, toasts, the question for a token.
import { render } from "preact";
import { useState } from "preact/hooks";
import type { Connection } from "./api";
import { Badge } from "./badge";
import { Detail } from "./detail";
import { Store, type Link } from "./store";
import "./style.css";
import { clock, span } from "./words";

function LinkBanner({ link }: { link: Link }) {
  if (link.state !== "lost") return null;
  const left = Math.max(0, link.retryAt - Date.now());
  return (
    <section class="lost" aria-label="The proxy is lost">
      <p role="alert">The proxy at {location.host} has not answered since {clock(new Date(link.since).toISOString())}. What stands below is from then.</p>
      <p>{left > 300 ? `Trying again in ${span(left)}.` : "Trying again."}</p>
    </section>
  );
}

function Unlock({ wrong }: { wrong: boolean }) {
  const [token, setToken] = useState("");
  return (
    <form class="unlock" onSubmit={(event) => { event.preventDefault(); store.unlock(token.trim()); }}>
      <h2>This admin port wants a token</h2>
      {wrong && <p role="alert">The proxy refuses this token.</p>}
      <label>Token <input type="password" autocomplete="off" required value={token} onInput={(event) => setToken(event.currentTarget.value)} /></label>
      <p>It is what stands in the file that admin.token_file names. This tab keeps it until it is closed.</p>
      <button type="submit" class="primary">Show the connections</button>
    </form>
  );
}

function List({ connections, chosen }: { connections: Connection[]; chosen: string | null }) {
  return (
    <nav aria-label="Connections">
      <ul>
        {connections.map((each) => (
          <li key={each.connectionId}>
            <a href={`#${encodeURIComponent(each.connectionId)}`} aria-current={each.connectionId === chosen ? "true" : undefined}>
              <span class="name">{each.connectionId}</span> <Badge connection={each} />
              <span class="summary">{each.upstream ?? "no upstream"}{each.sessions.waiting > 0 && `, ${each.sessions.waiting} waiting`}</span>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function summary(connections: Connection[], link: Link): string {
  if (link.state === "opening" && connections.length === 0) return "asking the proxy";
  const up = connections.filter((each) => each.state === "connected").length;
  const then = link.state === "lost" ? "last known: " : "";
  return then + (up === connections.length ? (up === 1 ? "connected" : `all ${up} connected`) : `${connections.length - up} of ${connections.length} not connected`);
}

function Page() {
  const { link, connections, chosen, toasts } = store.view;
  const connection = connections.find((each) => each.connectionId === chosen);
  const well = connections.every((each) => each.state === "connected");
  return (
    <>
      <header class="top">
        <h1>holdfast</h1>
        {link.state !== "locked" && <p role="status" class={link.state === "lost" ? "old" : well ? "well" : "unwell"}>{summary(connections, link)}</p>}
        <p class={`link ${link.state}`}>{link.state === "live" ? "live" : link.state === "lost" ? "proxy lost" : ""}</p>
      </header>
      <LinkBanner link={link} />
      <main>
        {link.state === "locked" ? <Unlock wrong={link.wrong} /> : <List connections={connections} chosen={chosen} />}
        {link.state !== "locked" && (connection ? <Detail connection={connection} store={store} key={connection.connectionId} />
            : connections.length > 0 && <p class="hint">Choose a connection to see its details.</p>)}
      </main>
      <div class="toasts" role="log" aria-live="polite" aria-label="News">
        {toasts.map(({ key, title, text, kind }) => (
          <div key={key} class={`toast ${kind}`}>
            <div><strong>{title}</strong>{text && <p>{text}</p>}</div>
            <button type="button" aria-label={`Dismiss: ${title}`} onClick={() => store.dismiss(key)}>✕</button>
          </div>
        ))}
      </div>
    </>
  );
}

const place = document.getElementById("page")!;
const draw = () => {
  document.title = `${store.view.connections.some((each) => each.state !== "connected") || store.view.link.state === "lost" ? "✕ " : ""}holdfast`;
  render(<Page />, place);
};
const store = new Store(draw);
store.start();
setInterval(draw, 500);  // countdowns and ages
