// Search runs in a Worker, which browsers refuse to pages that are opened from a disk (file://). There it runs in a
// hidden frame instead. Anywhere else this does nothing.
"use strict";
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.frame = frame;
      // Else some browsers put another empty document in its place later.
      frame.contentDocument.open();
      frame.contentDocument.write("<!doctype html><title>search</title><body></body>");
      frame.contentDocument.close();
      const inside = frame.contentWindow;
      // What a worker has and a frame has not: its words go to the page, and scripts are loaded one after the other.
      inside.postMessage = (data) => this.told(data);
      inside.importScripts = (...addresses) =>
        addresses.reduce((before, each) => before.then(() => this.load(each)), Promise.resolve());
      this.ready = this.load(String(address));
    }

    load(address) {
      return new Promise((resolve, reject) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = address;
        script.onload = resolve;
        script.onerror = reject;
        this.frame.contentDocument.body.appendChild(script);
      });
    }

    told(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
