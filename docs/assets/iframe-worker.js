// A page opened from a folder (file://) may not start workers. There the search runs in a hidden
// frame, which speaks to the page as a worker would; served pages keep their workers.
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    const inner = frame.contentWindow;
    inner.document.open();
    inner.document.write("<body></body>");
    inner.document.close();
    inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    const script = inner.document.createElement("script");
    script.src = url;
    this.inner = new Promise((resolve) => script.addEventListener("load", () => resolve(inner)));
    inner.document.body.append(script);
  }

  async postMessage(data) {
    (await this.inner).dispatchEvent(new MessageEvent("message", { data }));
  }
}

if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker; // the search looks for this name
  window.Worker = IFrameWorker;
}
