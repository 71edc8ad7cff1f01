const SETS = {{sets}}, MEASURED = ["speed", "yaw_rate", "acceleration", "lateral_acceleration"];
const TITLES = ["Speed, measured", "Yaw rate", "Acceleration", "To the left"], UNITS = ["m/s", "rad/s", "m/s²", "m/s²"];
let scan = null, scannedAt = 0, reach = 0, resets = 0;

function element(name, text, className) {
  const made = document.createElement(name);
  [made.textContent, made.className] = [text, className || ""];
  return made;
}

/** Shows the panel for a drive whose engine gets more than the picture. */
function getsInputs() {
  const { numbers, commands, scan: wanted, memory } = drive.inputs;
  [scan, scannedAt, reach, resets] = [null, 0, 0, 0];
  const sees = wanted !== null || drive.lidar;
  $("inputs").hidden = !(numbers.length || commands.length || sees || memory);
  document.querySelector("main").className = $("inputs").hidden ? "" : "gets";
  $("inputs").className = sees ? "" : "flat";
  $("scan-box").hidden = !sees;
  $("values").replaceChildren();
  const row = (id, title) => {
    const made = element("div", ""), value = element("dd", "–");
    value.id = id;
    made.append(element("dt", title), value);
    $("values").append(made);
  };
  for (const { name } of numbers) {
    const place = MEASURED.indexOf(name);
    if (place >= 0) row(`value-${name}`, TITLES[place]);
  }
  if (memory) row("value-memory", "Memory, new starts");
  $("turns").hidden = commands.length === 0;
  $("turns").replaceChildren(...commands.map((name) => {
    const button = element("button", name);
    button.type = "button";
    button.disabled = !SETS;
    button.setAttribute("aria-pressed", "false");
    button.title = SETS ? `Set the command ${name}` : "set it with `pilotage command` or a gamepad";
    button.onclick = () => act(`/command/${name}`, `Command ${name}`);
    return button;
  }));
}

function scanned(message) {
  [scan, scannedAt, dirty] = [message, performance.now(), true];
}

function drawInputs(last) {
  if ($("inputs").hidden) return;
  for (const { name, replacement } of drive.inputs.numbers) {
    const place = MEASURED.indexOf(name), shown = $(`value-${name}`), value = last.measured[place];
    if (!shown) continue;
    const lacks = last.lacking.includes(name), old = value !== null && lacks;
    const instead = replacement === null ? "" : `; network got ${replacement}`;
    shown.className = lacks ? "lacking" : "";
    shown.textContent = lacks
      ? (old ? `${ms(last.measured_age)} old` : "missing") + instead
      : value === null ? "–" : `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)} ${UNITS[place]}`;
  }
  if (drive.inputs.memory) $("value-memory").textContent = resets;
  for (const button of $("turns").children) {
    const pressed = String(button.textContent === last.high_level);
    if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
  }
  if (!$("scan-box").hidden) drawScan(last);
}

/** The scan from above, ahead is up; rings in metres. */
function drawScan(last) {
  const [context, w, h] = fitted($("scan")), lacks = last.lacking.includes("scan");
  const stale = !scan || performance.now() - scannedAt > SILENT;
  const metres = drive.inputs.scan && drive.inputs.scan.replacement;
  const instead = lacks && metres !== null ? `; network got ${metres} m` : "";
  $("scan").className = stale || lacks ? "stale" : "";
  $("scan-text").className = lacks ? "lacking" : "";
  $("scan-text").textContent = last.scan_age === null ? `no scan${instead}` : `scan ${ms(last.scan_age)} old${instead}`;
  if (!scan) return;
  const points = [];
  scan.ranges.forEach((range, ray) => {
    const angle = ((scan.start + ray * scan.step) * Math.PI) / 180, far = range / 1000;
    if (range > 0) points.push([-Math.sin(angle) * far, Math.cos(angle) * far, ray]);
  });
  // What is near matters: the few rays along a road go beyond the edge. The scale does not change with every scan.
  const sorted = scan.ranges.filter((range) => range > 0).sort((a, b) => a - b);
  const far = (sorted[Math.floor(0.9 * sorted.length)] || 1000) / 1000;
  if (1.1 * far > reach || far < 0.5 * reach) reach = Math.max(0.5, 1.4 * far);
  const behind = Math.max(-reach, Math.min(0, ...points.map((point) => point[1])));
  const below = Math.min(0.5, Math.max(0.15, -behind / (reach - behind)));
  const middle = [w / 2, h * (1 - below)], scale = Math.min((w / 2) / reach, (h * (1 - below) - 4) / reach);
  const at = ([x, y]) => [middle[0] + x * scale, middle[1] - y * scale];
  const ring = [0.25, 0.5, 1, 2, 5, 10, 20].find((size) => reach / size <= 3) || 20;
  [context.strokeStyle, context.fillStyle, context.lineWidth] = [colour("line"), colour("quiet"), 1];
  for (let radius = ring; radius <= 2 * reach; radius += ring) {
    context.beginPath();
    context.arc(...middle, radius * scale, 0, 2 * Math.PI);
    context.stroke();
    if (middle[1] - radius * scale > 12) context.fillText(`${radius} m`, middle[0] + 3, middle[1] - radius * scale + 12);
  }
  // The free space, and what the rays hit.
  context.beginPath();
  let before = -2;
  for (const point of points) {
    if (point[2] !== before + 1) context.lineTo(...middle);
    context.lineTo(...at(point));
    before = point[2];
  }
  context.lineTo(...middle);
  [context.fillStyle, context.globalAlpha] = [colour("inference"), 0.16];
  context.fill();
  context.globalAlpha = 1;
  context.fillStyle = colour("inference");
  for (const point of points) {
    const [x, y] = at(point);
    context.fillRect(x - 1, y - 1, 2.4, 2.4);
  }
  context.beginPath();
  [[0, -8], [5, 6], [0, 3], [-5, 6]].forEach(([x, y]) => context.lineTo(middle[0] + x, middle[1] + y));
  context.closePath();
  context.fillStyle = colour("ink");
  context.fill();
}
