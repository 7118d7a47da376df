// Asks for what a page asks for once it is there, and reports what came, by which protocol and from which version.

const loaded = new Promise((done) => {
  if (document.readyState === "complete") done();
  else addEventListener("load", done);
});

async function upload() {
  const response = await fetch("/upload", { method: "POST", body: "x".repeat(300_000) });
  return { received: await response.text(), version: response.headers.get("tidegate-version") };
}

function echo() {
  return new Promise((done, failed) => {
    const socket = new WebSocket(`wss://${location.host}/socket`);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = ({ data }) => { socket.close(); done(data); };
    socket.onerror = () => failed("the WebSocket failed");
  });
}

function event() {
  return new Promise((done) => {
    const events = new EventSource("/events");
    events.onmessage = ({ data }) => { events.close(); done(data); };
  });
}

function protocols() {
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return entries.map(({ name, nextHopProtocol }) => [new URL(name).pathname, nextHopProtocol]);
}

async function story() {
  await loaded;
  const [uploaded, echoed, told] = [await upload(), await echo(), await event()];
  return { uploaded, echoed, told, protocols: protocols(), cookie: document.cookie, at: location.href };
}

const report = await story().catch((problem) => ({ problem: String(problem) }));
await fetch("/report", { method: "POST", body: JSON.stringify(report) });
