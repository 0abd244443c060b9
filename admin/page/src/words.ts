// Says in words what states, events, errors and times mean, and what to do about them. No network, no page.
import { proxyNow, type Capabilities, type Connection, type ProxyEvent } from "./api";

/// `3 s`, `4 min`, `2 h 5 min`.
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

export const ago = (time: string) => `${span(proxyNow() - Date.parse(time))} ago`;
export const clock = (time: string) => new Date(time).toLocaleTimeString();
export const milliseconds = (value: number) => (value < 10 ? value.toFixed(2) : value.toFixed(0)) + " ms";

export function countdown(connection: Connection): string {
  if (connection.nextAttemptAt === null || connection.state === "paused") return "";
  const left = Date.parse(connection.nextAttemptAt) - proxyNow();
  return left > 500 ? `next attempt in ${span(left)}` : "attempt under way";
}

/// What holds for the clients now.
export function meaning(connection: Connection): string {
  switch (connection.state) {
    case "connected": return "The database answers; clients are served.";
    case "connecting": return "The database has not answered since the proxy was started. Clients wait.";
    case "reconnecting": return "The database is lost. What clients ask for is held until it is back, at most for hold_timeout.";
    case "failed": return "All attempts have failed. New statements get an error at once (57P03). The proxy goes on looking: as soon as " +
        "the database answers, clients are served again.";
    case "paused": return "An operator has paused this connection: what clients begin waits until it is resumed, at most for pause_timeout.";
  }
}

/// What the members of a MongoDB do with a write that is sent to them again.
export function repetition({ kind, deduplicates, members }: Capabilities): string {
  if (deduplicates) return "is executed once";
  const why = members.find((each) => each.reason !== null);
  if (kind === null || why === undefined) return "not known yet";
  return `would be executed again, so none is: ${why.reason} (${why.address})`;
}

const advices: [RegExp, string][] = [
  [/password authentication failed|28P01/i, "The login of the upstream URI is refused. Correct the password in the configuration and reload or " +
      "restart, or in the database; then force a reconnect. It is not tried again by itself."],
  [/pg_hba\.conf|no encryption|28000/i, "The server has no pg_hba.conf line that lets this user in from this host. Add one and reload the server, " +
      "then force a reconnect."],
  [/database ".*" does not exist|role ".*" does not exist/i, "The upstream URI names something that the server does not have. Create it, or correct the URI."],
  [/login refused|authentication failed/i, "The server refuses the login of the upstream URI. Compare user and password (MongoDB: authSource too) with the " +
      "server's users. After a correction in the configuration reload or restart; then force a reconnect."],
  [/cannot look up|translate host name|name or service|no such host|name resolution|host not found/i,
    "The name cannot be resolved. Look at DNS and at the spelling in the upstream URI."],
  [/not initiated/i, "The server was started as a member of a replica set that does not exist yet: rs.initiate() makes it."],
  [/it is (a|no) (member|mongos|standalone)/i, "The server is of another set, or of another kind, than the upstream URI says or than was there before. Compare " +
      "replicaSet in the URI with the set's name (rs.status().set), and leave it out for a mongos or a single server. Where the servers were " +
      "replaced on purpose, restart the proxy."],
  [/is a secondary|neither a primary nor a secondary|takes itself for the primary/i, "A member answers, but it is not the primary. The set elects one as " +
      "soon as most of its members see each other: look at rs.status(). With directConnection=true the URI leads to that member alone: leave it out."],
  [/refused/i, "Nothing listens at this address: the server is stopped or still starting, or host or port are wrong. Start the server; the proxy " +
      "connects by itself."],
  [/no route|unreachable/i, "The network does not lead there. Look at routes, security groups and firewalls between the proxy and the server."],
  [/certificate|tls|ssl/i, "TLS fails. Compare sslmode and sslrootcert (MongoDB: the tls options) in the upstream URI with the server's certificate and its expiry."],
  [/timed? ?out|time-out|does not answer|no answer/i, "The host does not answer in time: it is down, overloaded, or a firewall drops packets. Look at the " +
      "server's machine and the network."],
  [/starting up|shutting down|recovery|57P03/i, "The server is starting or stopping. Wait: the proxy connects as soon as it lets clients in."],
  [/too many (clients|connections)|remaining connection slots|53300/i, "The server is full. Raise its max_connections, or close clients; see the sessions below."],
  [/closed the connection|end of (file|stream)|reset|terminat|57P01|crash/i, "The server ended the connection: it was stopped, restarted, or has crashed. Look at " +
      "the server's log; the proxy connects again by itself."],
  [/read.only|standby|target_session_attrs/i, "A server answers, but none with the role that target_session_attrs asks for. Promote one, or wait for the failover."],
];

export function advice(error: string): string {
  return advices.find(([pattern]) => pattern.test(error))?.[1] ??
      "Look at the server's log around this time, and at the proxy's own log.";
}

export interface Told { title: string; text: string; kind: "good" | "bad" | "neutral" }

export function told(event: ProxyEvent): Told {
  const reason = typeof event.reason === "string" ? event.reason : "";
  switch (event.name) {
    case "database-connected": return { title: "Connected", text: "The database answers.", kind: "good" };
    case "database-connection-lost": return { title: "Connection lost", text: reason, kind: "bad" };
    case "database-reconnect-scheduled":
      return { title: "Attempt scheduled", text: `Attempt ${event.attempt} of ${event.maxRetries} in ${span(Number(event.delayMs))}.`, kind: "neutral" };
    case "database-reconnecting": return { title: "Reconnecting", text: `Attempt ${event.attempt}.`, kind: "neutral" };
    case "database-reconnected":
      return { title: "Reconnected", text: `After ${milliseconds(Number(event.downtimeMs))}; ${event.sessionsRestored} sessions restored.`, kind: "good" };
    case "database-reconnect-failed": return { title: "All attempts failed", text: reason, kind: "bad" };
    case "database-health-check-failed": return { title: "Health check failed", text: reason, kind: "bad" };
    case "config-changed": return { title: "Settings changed", text: Array.isArray(event.changed) ? event.changed.join(", ") : "", kind: "neutral" };
    case "gap":
      return event.restarted ? { title: "The proxy was restarted", text: "Events from before are gone.", kind: "neutral" }
                             : { title: "Events missed", text: `${event.missed} events could not be shown.`, kind: "neutral" };
    default: return { title: event.name, text: reason, kind: "neutral" };
  }
}
