// Driving with the page. The car moves only while the stick is held (by touch, mouse, keys or the
// browser's gamepad); 20 messages a second answer the server's beats.
const PERIOD = 50, REACH = 90, CONFIRM = 4000, KEYS = {
  ArrowLeft: [1, 0], KeyA: [1, 0], ArrowRight: [-1, 0], KeyD: [-1, 0],
  ArrowUp: [0, 1], KeyW: [0, 1], ArrowDown: [0, -1], KeyS: [0, -1],
};
let wheel = "none", beat = 0, number = 0, origin = null, stick = [0, 0], wasHeld = false;
const pressed = new Set();

function wheelIs(state) {
  if (state === "yours" && wheel !== "yours") [beat, number] = [0, 0];
  wheel = state;
  letGo();
  $("drive").hidden = state === "none";
  $("take").textContent = state === "yours" ? "Release the wheel" : "Take the wheel";
  $("take").disabled = state === "taken";
  $("stick").hidden = $("arm").hidden = $("limit-row").hidden = state !== "yours";
  $("drive-text").textContent = {
    free: "No page drives.",
    taken: "Another page drives.",
    yours: "Hold the stick, an arrow key, W A S D, or a gamepad's left shoulder button; let go to stand still. Leaving the page stops the car.",
  }[state] || "";
  disarmArm();
}

function ask(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function letGo() {
  [origin, stick] = [null, [0, 0]];
  pressed.clear();
  drawStick();
}

function drawStick() {
  const [steering, throttle] = stick;
  $("knob").style.transform = `translate(${-steering * REACH}px, ${-throttle * REACH}px)`;
  $("stick").className = origin ? "held" : "";
}

function clamp(value) {
  return Math.max(-1, Math.min(1, value));
}

/** What the operator's hand asks for: steering, throttle, whether it holds. */
function hand() {
  const keys = [...pressed].map((code) => KEYS[code]);
  if (keys.length) {
    return [clamp(keys.reduce((sum, key) => sum + key[0], 0)), clamp(keys.reduce((sum, key) => sum + key[1], 0)), true];
  }
  if (origin) return [...stick, true];
  const pad = [...(navigator.getGamepads ? navigator.getGamepads() : [])].find((it) => it && it.connected);
  const dead = (value) => (Math.abs(value || 0) < 0.1 ? 0 : value);
  if (pad && pad.buttons[4] && pad.buttons[4].pressed) return [-dead(pad.axes[0]), -dead(pad.axes[3]), true];
  return [0, 0, false];
}

function send() {
  if (wheel !== "yours") return;
  let [steering, throttle, held] = hand();
  // The axes have to be seen at rest after the dead-man button goes down.
  if (held && !wasHeld) [steering, throttle] = [0, 0];
  wasHeld = held;
  const limit = Number($("limit").value) / 100;
  ask({ kind: "drive", steering, throttle: throttle * limit, held, number: ++number, beat });
}

let confirming = 0;
function disarmArm() {
  clearTimeout(confirming);
  confirming = 0;
  $("arm").textContent = "Arm";
  $("arm").className = "";
}

$("take").onclick = () => ask({ kind: wheel === "yours" ? "release" : "take" });
$("arm").onclick = () => {
  if (confirming) {
    ask({ kind: "arm" });
    return disarmArm();
  }
  $("arm").textContent = "Press again to arm";
  $("arm").className = "sure";
  confirming = setTimeout(disarmArm, CONFIRM);
};
$("limit").oninput = () => ($("limit-text").textContent = `${$("limit").value} %`);
$("stick").onpointerdown = (event) => {
  event.preventDefault();
  $("stick").setPointerCapture(event.pointerId);
  [origin, stick] = [[event.clientX, event.clientY], [0, 0]];
  drawStick();
};
$("stick").onpointermove = (event) => {
  if (!origin) return;
  stick = [clamp((origin[0] - event.clientX) / REACH), clamp((origin[1] - event.clientY) / REACH)];
  drawStick();
};
for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
  $("stick").addEventListener(end, () => {
    [origin, stick] = [null, [0, 0]];
    drawStick();
  });
}
addEventListener("keydown", (event) => {
  if (wheel !== "yours" || !KEYS[event.code] || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.tagName === "INPUT") return;
  event.preventDefault();
  pressed.add(event.code);
});
addEventListener("keyup", (event) => pressed.delete(event.code));
addEventListener("blur", letGo);
document.addEventListener("visibilitychange", letGo);
setInterval(send, PERIOD);
