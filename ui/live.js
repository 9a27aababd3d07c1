// The camera's picture at full rate, with what the server answered for its latest frame drawn over it.
//
// One frame is on its way at any time: the next one is taken when the answer is there, so that what is sent is
// always the newest picture and nothing queues up. Streamlit calls the default function anew for every answer;
// what has to outlive that is kept by the element that the component is mounted in.

const LONG_SIDE = 640; // pixels of a frame that is sent; the detector sees faces from about 20 px up
const QUALITY = 0.8;
const SNAPSHOT_QUALITY = 0.92;
const PATIENCE = 4000; // milliseconds after which an answer is taken for lost
const COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"]; // Okabe and Ito
const WHITE_ON = new Set(["#0072b2", "#d55e00"]);

const TROUBLES = {
  insecure:
    "Browsers lend the camera to pages on HTTPS or on localhost only. Open this app under an https:// address, " +
    "or on the computer that it runs on.",
  NotAllowedError:
    "The browser does not let this page use the camera. Allow it at the camera or lock symbol beside the address " +
    "(and in the system's settings, if it is blocked there), then press Start camera again.",
  NotFoundError: "No camera was found. Connect one, or use a device that has one, then press Start camera again.",
  NotReadableError:
    "The camera is in use by another program or page. Close what uses it, then press Start camera again.",
  ended: "The camera was switched off or unplugged. Press Start camera to use it again.",
};
TROUBLES.SecurityError = TROUBLES.NotAllowedError;
TROUBLES.OverconstrainedError = TROUBLES.NotFoundError;
TROUBLES.AbortError = TROUBLES.NotReadableError;

const cameras = new WeakMap();

export default function (component) {
  const { parentElement, data } = component;
  let camera = cameras.get(parentElement);
  if (!camera) {
    camera = new Camera(parentElement);
    cameras.set(parentElement, camera);
  }
  camera.send = component.setTriggerValue;
  camera.hear(data);
  return () => camera.leave();
}

class Camera {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.video = this.find("video");
    this.overlay = this.find("canvas");
    this.stage = this.find(".stage");
    this.frame = document.createElement("canvas");
    this.mirrored = true;
    this.facing = "user";
    this.number = 0;
    this.waiting = null; // the frame that is on its way: its number, and when it was taken
    this.answers = []; // when answers came, and how old their frames were then
    this.run = 0;
    const actions = {
      start: () => this.start(),
      stop: () => this.stop(),
      mirror: () => this.mirror(),
      turn: () => this.turn(),
      snap: () => this.snap(),
    };
    for (const [name, act] of Object.entries(actions)) this.button(name).onclick = act;
    // Streamlit pales what it runs anew when that takes a while. Here it always does, and the picture goes on.
    const host = root.host ?? root;
    for (let around = host; around && around.dataset.testid !== "stMain"; around = around.parentElement) {
      around.style.setProperty("opacity", "1", "important");
      around.style.setProperty("transition", "none", "important");
    }
    this.quiet = document.head.appendChild(document.createElement("style"));
    this.onhide = () => this.stop(true);
    window.addEventListener("pagehide", this.onhide);
  }

  button(name) {
    return this.find(`[data-do="${name}"]`);
  }

  async start() {
    this.stop();
    this.complain(null);
    const run = ++this.run;
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) return this.complain("insecure");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: this.facing, width: { ideal: 1280 }, height: { ideal: 720 } },
      });
    } catch (error) {
      if (run === this.run) this.complain(error.name, error.message);
      return;
    }
    if (run !== this.run) return stream.getTracks().forEach((track) => track.stop()); // stopped meanwhile
    this.stream = stream;
    for (const track of stream.getTracks()) {
      track.onended = () => {
        this.stop();
        this.complain("ended");
      };
    }
    this.video.srcObject = stream;
    await this.video.play().catch(() => {});
    if (run !== this.run) return;
    this.stage.dataset.state = "on";
    this.stage.style.aspectRatio = `${this.video.videoWidth || 4} / ${this.video.videoHeight || 3}`;
    this.enable(true);
    this.show();
    this.take();
    this.timer = setInterval(() => this.look(), 500);
  }

  stop(gone = false) {
    this.run++;
    if (this.stream && !gone) this.send("stopped", this.run); // the server forgets who was there
    clearInterval(this.timer);
    this.stream?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this.stream = null;
    this.video.srcObject = null;
    this.waiting = this.snapshot = null;
    this.answers = [];
    this.stage.dataset.state = "off";
    this.enable(false);
    this.draw([]);
    this.find(".speed").textContent = "\u00a0";
  }

  enable(on) {
    // Each answer is a run of the page; a sign of that, coming and going all the time, says nothing to anybody.
    this.quiet.textContent = on ? '[data-testid="stStatusWidget"] { visibility: hidden; }' : "";
    const [start, stop] = [this.button("start"), this.button("stop")];
    const focused = this.root.activeElement ?? document.activeElement;
    stop.disabled = this.button("snap").disabled = !on;
    start.disabled = on;
    // Whoever uses the keyboard goes on where they were: a disabled button loses the focus.
    if (on && focused === start) stop.focus();
    if (!on && (focused === stop || focused === this.button("snap"))) start.focus();
  }

  leave() {
    // Streamlit may call this also where the component stays: only what has left the page is switched off.
    setTimeout(() => {
      const host = this.root.host ?? this.root;
      if (host.isConnected) return;
      window.removeEventListener("pagehide", this.onhide);
      this.stop(true);
      this.quiet.remove();
    }, 0);
  }

  complain(name, words) {
    const place = this.find(".trouble");
    place.hidden = !name;
    place.textContent = name ? (TROUBLES[name] ?? `The camera cannot be used: ${words || name}.`) : "";
  }

  mirror() {
    this.mirrored = !this.mirrored;
    this.show();
    this.draw(this.faces ?? []);
  }

  async turn() {
    this.facing = this.facing === "user" ? "environment" : "user";
    this.mirrored = this.facing === "user"; // as in a mirror, or as others see it
    this.show();
    if (this.stream) await this.start();
  }

  show() {
    this.video.classList.toggle("mirrored", this.mirrored);
    this.button("mirror").setAttribute("aria-pressed", String(this.mirrored));
  }

  picture(longSide, quality) {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, longSide / Math.max(width, height));
    this.frame.width = Math.max(1, Math.round(width * scale));
    this.frame.height = Math.max(1, Math.round(height * scale));
    this.frame.getContext("2d").drawImage(this.video, 0, 0, this.frame.width, this.frame.height);
    return this.frame.toDataURL("image/jpeg", quality).split(",")[1];
  }

  take() {
    if (!this.stream || this.waiting || !this.video.videoWidth) return;
    const taken = performance.now();
    this.waiting = { number: ++this.number, taken };
    this.send("frame", {
      run: this.run,
      number: this.number,
      time: taken / 1000,
      jpeg: this.picture(LONG_SIDE, QUALITY),
      snapshot: this.snapshot,
    });
  }

  look() {
    if (this.waiting && performance.now() - this.waiting.taken > PATIENCE) this.waiting = null;
    this.take();
    const now = performance.now();
    this.answers = this.answers.filter((answer) => now - answer.came < 5000);
    if (!this.answers.length) return;
    const ages = this.answers.map((answer) => answer.age).sort((a, b) => a - b);
    const span = Math.max(1, now - this.answers[0].came) / 1000;
    const rate = this.answers.length / span;
    const age = ages[ages.length >> 1];
    const speed = this.find(".speed");
    speed.textContent = `${rate.toFixed(1)} answers a second, each ${Math.round(age)} ms old when it comes`;
    speed.dataset.rate = rate.toFixed(2);
    speed.dataset.age = Math.round(age);
    speed.dataset.frames = this.number;
  }

  snap() {
    // It goes along with the next frames until one is answered: of two messages Streamlit may drop the first.
    if (this.stream) this.snapshot = { id: ++this.number, jpeg: this.picture(4096, SNAPSHOT_QUALITY) };
  }

  hear(data) {
    if (!data || !this.waiting || data.number !== this.waiting.number) return;
    const now = performance.now();
    this.answers.push({ came: now, age: now - this.waiting.taken });
    this.waiting = null;
    if (this.snapshot?.id <= data.kept) this.snapshot = null;
    this.complain(data.error ? "server" : null, data.error);
    this.size = data.size;
    this.draw(data.faces ?? []);
    requestAnimationFrame(() => this.take());
  }

  draw(faces) {
    this.faces = faces;
    const { overlay } = this;
    const [width, height] = this.size ?? [640, 480];
    const ratio = Math.max(1, Math.min(3, (overlay.clientWidth * (window.devicePixelRatio || 1)) / width || 1));
    overlay.width = Math.round(width * ratio);
    overlay.height = Math.round(height * ratio);
    overlay.dataset.faces = JSON.stringify(faces.map((face) => face.box));
    const context = overlay.getContext("2d");
    context.scale(ratio, ratio);
    // At least 12 pixels of the screen, where the picture is drawn smaller, as on a phone.
    const type = Math.max(13, width / 42, (12 * width) / (overlay.clientWidth || width));
    context.font = `600 ${type}px sans-serif`;
    context.textBaseline = "middle";
    const taken = [];
    for (const face of faces) {
      const [x1, y1, x2, y2] = face.box;
      const left = this.mirrored ? width - x2 : x1;
      const color = COLORS[(face.track - 1) % COLORS.length];
      context.lineWidth = 5;
      context.strokeStyle = "#141414";
      context.strokeRect(left, y1, x2 - x1, y2 - y1);
      context.lineWidth = 3;
      context.strokeStyle = color;
      context.strokeRect(left, y1, x2 - x1, y2 - y1);
      const line = type * 1.4;
      const lines = [`${face.track} · ${face.age}`, face.gender].filter(Boolean);
      const wide = Math.max(...lines.map((text) => context.measureText(text).width)) + type;
      const x = Math.max(0, Math.min(left, width - wide));
      const high = line * lines.length;
      const hidden = (y) => taken.some((t) => x < t.x + t.wide && t.x < x + wide && y < t.y + t.high && t.y < y + high);
      const places = [y2, y1 - high, y2 - high].filter((y) => y >= 0 && y + high <= height);
      const y = places.find((place) => !hidden(place)) ?? Math.max(0, Math.min(y2, height - high));
      taken.push({ x, y, wide, high });
      context.fillStyle = color;
      context.fillRect(x, y, wide, high);
      context.fillStyle = WHITE_ON.has(color) ? "#ffffff" : "#141414";
      lines.forEach((text, index) => context.fillText(text, x + type / 2, y + line * (index + 0.5)));
    }
    const words = faces.map((face) => `person ${face.track}: ${face.age}, ${face.gender}`).join("; ");
    overlay.setAttribute("aria-label", words || "No face found");
  }
}
