// Driving with the page. The car moves only while the stick is held (by touch, mouse, keys or the
// browser's gamepad); 20 messages a second answer the server's beats.
const PERIOD = 50, REACH = 90, CONFIRM = 4000, SOONEST = 400, PAD_SILENT = 500, KEYS = {
  ArrowLeft: [1, 0], KeyA: [1, 0], ArrowRight: [-1, 0], KeyD: [-1, 0],
  ArrowUp: [0, 1], KeyW: [0, 1], ArrowDown: [0, -1], KeyS: [0, -1],
};
let wheel = "none", beat = 0, number = 0, wasHeld = false, padLocked = true;
// The pointer that holds the stick, where it was put down, and the stick's position.
let pointer = null, origin = [0, 0], stick = [0, 0];
const pressed = new Set();

function wheelIs(state) {
  if (state === "yours" && wheel !== "yours") [beat, number] = [0, 0];
  wheel = state;
  release();
  $("drive").hidden = state === "none";
  $("take").textContent = state === "yours" ? "Release the wheel" : "Take the wheel";
  $("take").disabled = state === "taken";
  $("stick").hidden = $("arm").hidden = $("limit-row").hidden = state !== "yours";
  $("drive-text").textContent = {
    free: "No page drives.",
    taken: "Another page drives.",
    yours: "Hold the stick, an arrow key, W A S D, or a gamepad's left shoulder button; release it to stand still. Leaving the page stops the car.",
  }[state] || "";
}

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

/** Nothing is held any more: whatever is held now has to be pressed again. */
function release() {
  [pointer, stick, padLocked] = [null, [0, 0], true];
  pressed.clear();
  cancelArm();
  drawStick();
}

function drawStick() {
  const [steering, throttle] = stick;
  $("knob").style.transform = `translate(${-steering * REACH}px, ${-throttle * REACH}px)`;
  $("stick").className = pointer === null ? "" : "held";
}

function clamp(value) {
  return Math.max(-1, Math.min(1, value));
}

/** A gamepad whose axes are known, and which is not silent. */
function gamepad() {
  const pads = navigator.getGamepads ? [...navigator.getGamepads()] : [];
  const pad = pads.find((it) => it && it.connected && it.mapping === "standard");
  const held = pad && pad.buttons[4].pressed && performance.now() - pad.timestamp < PAD_SILENT;
  if (!pad || !pad.buttons[4].pressed) padLocked = false;
  return held && !padLocked ? pad : null;
}

/** The operator's hand: steering, throttle, whether it holds. */
function hand() {
  if (document.hidden || !document.hasFocus()) return [0, 0, false];
  // Read in any case: it notices that the button is up.
  const pad = gamepad();
  const keys = [...pressed].map((code) => KEYS[code]);
  if (keys.length) {
    // A key has no position: the report at its press is one at rest.
    if (!wasHeld) return [0, 0, true];
    const sum = (index) => clamp(keys.reduce((total, key) => total + key[index], 0));
    return [sum(0), sum(1), true];
  }
  if (pointer !== null) return [...stick, true];
  const dead = (value) => (Math.abs(value || 0) < 0.1 ? 0 : value);
  return pad ? [-dead(pad.axes[0]), -dead(pad.axes[3]), true] : [0, 0, false];
}

function steer() {
  if (wheel !== "yours") return;
  const [steering, throttle, held] = hand();
  wasHeld = held;
  const limit = Number($("limit").value) / 100;
  send({ kind: "drive", steering, throttle: throttle * limit, held, number: ++number, beat });
}

let confirming = 0, asked = 0;
function cancelArm() {
  clearTimeout(confirming);
  confirming = 0;
  $("arm").textContent = "Arm";
  $("arm").className = "";
}

function arm(event) {
  // A double click, or a key that repeats, is one press.
  if (confirming && event.timeStamp - asked < SOONEST) return;
  if (confirming) {
    send({ kind: "arm", number: ++number, beat });
    return cancelArm();
  }
  asked = event.timeStamp;
  $("arm").textContent = "Press again to arm";
  $("arm").className = "sure";
  confirming = setTimeout(cancelArm, CONFIRM);
}

function showLimit() {
  $("limit-text").textContent = `${$("limit").value} %`;
}

function lift(event) {
  if (event.pointerId !== pointer) return;
  [pointer, stick] = [null, [0, 0]];
  drawStick();
}

$("take").onclick = () => send({ kind: wheel === "yours" ? "release" : "take" });
$("arm").onclick = arm;
$("arm").onkeydown = (event) => event.repeat && event.preventDefault();
$("limit").oninput = showLimit;
// The arrow keys drive, and do not move the slider.
$("limit").onchange = () => $("limit").blur();
$("stick").onpointerdown = (event) => {
  event.preventDefault();
  if (pointer !== null || event.button !== 0) return;
  $("stick").setPointerCapture(event.pointerId);
  [pointer, origin, stick] = [event.pointerId, [event.clientX, event.clientY], [0, 0]];
  drawStick();
};
$("stick").onpointermove = (event) => {
  if (event.pointerId !== pointer) return;
  if (event.buttons === 0) return lift(event);
  stick = [clamp((origin[0] - event.clientX) / REACH), clamp((origin[1] - event.clientY) / REACH)];
  drawStick();
};
for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) $("stick").addEventListener(end, lift);
addEventListener("keydown", (event) => {
  // While another key is down the browser may not report that one is released.
  if (event.ctrlKey || event.altKey || event.metaKey) return release();
  if (wheel !== "yours" || !KEYS[event.code]) return;
  event.preventDefault();
  if (event.target === $("limit")) $("limit").blur();
  if (!event.repeat) pressed.add(event.code);
});
addEventListener("keyup", (event) => (event.metaKey || event.key === "Meta" ? release() : pressed.delete(event.code)));
addEventListener("contextmenu", (event) => {
  if (wheel !== "yours") return;
  event.preventDefault();
  release();
});
addEventListener("blur", release);
document.addEventListener("visibilitychange", release);
showLimit();
setInterval(steer, PERIOD);
