// The buttons of a connection, and the question before an order that clients would feel.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Connection, Order } from "./api";
import type { Store } from "./store";

const questions: Partial<Record<Order, { title: string; text: string; yes: string }>> = {
  reconnect: {
    title: "Force a reconnect?",
    text: "The proxy drops its own connection to the database, closes the circuit breaker and tries at once. Client sessions keep theirs.",
    yes: "Reconnect",
  },
  pause: {
    title: "Pause this connection?",
    text: "Logins and each client's next statement outside a transaction wait until you resume, at most for pause_timeout. Open transactions go on to their end.",
    yes: "Pause",
  },
};

function Question({ id, what, done }: { id: string; what: Order; done: (yes: boolean) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  const { title, text, yes } = questions[what]!;
  return (
    <dialog ref={dialog} aria-labelledby="question" onClose={() => done(dialog.current!.returnValue === "yes")}>
      <h2 id="question">{title} <small>{id}</small></h2>
      <p>{text}</p>
      <div class="buttons">
        <button type="button" onClick={() => dialog.current!.close("no")}>Cancel</button>
        <button type="button" class="primary" onClick={() => dialog.current!.close("yes")}>{yes}</button>
      </div>
    </dialog>
  );
}

export function Actions({ connection, store, disabled }: { connection: Connection; store: Store; disabled: boolean }) {
  const [asked, ask] = useState<Order | null>(null);
  const id = connection.connectionId;
  // While the database is lost nothing can be harmed by trying: no question then.
  const reconnect = () => (connection.state === "connected" ? ask("reconnect") : void store.give(id, "reconnect"));
  return (
    <div class="buttons">
      <button type="button" disabled={disabled} onClick={reconnect}>Force reconnect</button>
      {connection.state === "paused"
        ? <button type="button" class="primary" disabled={disabled} onClick={() => void store.give(id, "resume")}>Resume</button>
        : <button type="button" disabled={disabled} onClick={() => ask("pause")}>Pause</button>}
      {asked && <Question id={id} what={asked} done={(yes) => { ask(null); if (yes) void store.give(id, asked); }} />}
    </div>
  );
}
