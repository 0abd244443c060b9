// A connection's state as one word with a colour and a sign, and the countdown to the next attempt.
import type { Connection } from "./api";
import { countdown } from "./words";

const signs = { connected: "●", connecting: "◌", reconnecting: "↻", failed: "✕", paused: "‖" };

export function Badge({ connection }: { connection: Connection }) {
  const left = countdown(connection);
  return (
    <span class={`badge ${connection.state}`} data-state={connection.state}>
      <span aria-hidden="true">{signs[connection.state]} </span>{connection.state}{left && <span class="countdown"> {left}</span>}
    </span>
  );
}
