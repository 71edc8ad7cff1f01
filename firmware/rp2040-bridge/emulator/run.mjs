// Runs the firmware in rp2040js, an emulator of the RP2040, and checks what it puts out:
//
//     npm ci && node run.mjs ../target/thumbv6m-none-eabi/release/rp2040-bridge
//
// The frames are written and read here after docs/bridge.md, not with the firmware's own code. Times
// are the emulator's, which counts cycles; the pulses are those of its pins.

import { readFileSync } from "node:fs";
import { LogLevel, ConsoleLogger, Simulator, USBCDC } from "rp2040js";

const SERVO = 8;
const MOTOR = 9;
const RECEIVER = { steering: 3, throttle: 5, switch: 7 };
const FLASH = 0x10000000;
const CYCLE = 1e9 / 125e6;
const NO = 0;
const AHEAD = 2;
const STATES = { obeys: 1, holds: 2, remote: 3, lost: 4 };

function crc16(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
    }
  }
  return crc;
}

// Copies the segments of an ELF file for flash memory (System V ABI, "Program Header").
function load(file, flash) {
  const elf = readFileSync(file);
  const headers = elf.readUInt32LE(28);
  for (let index = 0; index < elf.readUInt16LE(44); index++) {
    const at = headers + index * elf.readUInt16LE(42);
    const [type, offset, , physical, size] = [0, 4, 8, 12, 16].map((field) =>
      elf.readUInt32LE(at + field),
    );
    if (type === 1 && size > 0 && physical >= FLASH && physical - FLASH + size <= flash.length) {
      flash.set(elf.subarray(offset, offset + size), physical - FLASH);
    }
  }
}

class Bench {
  constructor(file) {
    this.simulator = new Simulator();
    this.chip = this.simulator.rp2040;
    this.chip.logger = new ConsoleLogger(LogLevel.Error);
    load(file, this.chip.flash);
    this.hangs = null;
    // By its address: the emulator has no name for it.
    this.chip.peripherals[0x40058].onWatchdogTrigger = () => {
      // The emulator has no reset: it ends here.
      const millis = (this.micros() - this.hangs) / 1000;
      check(this.hangs !== null, "the watchdog did not reset the chip while it worked");
      check(millis > 45 && millis < 51, "the watchdog's time", millis);
      passed(`the watchdog resets a chip that hangs, after ${millis.toFixed(1)} ms`);
      process.exit(0);
    };
    // The second-stage boot loader, as the boot ROM would start it.
    this.chip.core.SP = 0x20041f00;
    this.chip.core.LR = 0;
    this.chip.core.PC = FLASH;
    this.received = [];
    this.usb = new USBCDC(this.chip.usbCtrl);
    this.usb.onDeviceConnected = () => (this.connected = true);
    this.usb.onSerialData = (bytes) => this.received.push(...bytes);
    // The emulator's own class answers a waiting endpoint at once with an empty packet; a host sends
    // when it has something.
    this.chip.usbCtrl.onEndpointRead = () => {};
    // rp2040js 1.4.1 drops the input of each slice when any slice has an output (`gpioOnInput` has
    // `&&` where it means `&`).
    this.chip.pwm.gpioOnInput = (pin) => {
      if (pin % 2 === 1) this.chip.pwm.channels[(pin >> 1) & 7].gpioBChanged();
    };
    this.sequence = 0;
    this.events = [];
    this.pulses = { [SERVO]: [], [MOTOR]: [] };
    for (const pin of [SERVO, MOTOR]) {
      let rose = null;
      this.chip.gpio[pin].addListener((value) => {
        if (value === 1) rose = this.micros();
        else if (rose !== null) {
          this.pulses[pin].push({ at: rose, us: this.micros() - rose });
          rose = null;
        }
      });
    }
  }

  micros() {
    return this.simulator.clock.nanos / 1000;
  }

  // Calls `what` at a time of the emulator.
  at(micros, what) {
    this.events.push({ micros, what });
    this.events.sort((one, other) => one.micros - other.micros);
  }

  run(micros) {
    const end = this.micros() + micros;
    while (this.micros() < end) {
      while (this.events.length > 0 && this.events[0].micros <= this.micros()) {
        this.events.shift().what();
      }
      const cycles = this.hangs === null ? this.chip.core.executeInstruction() : 2;
      this.simulator.clock.tick(cycles * CYCLE);
    }
  }

  send(drive, steering, throttle) {
    this.sequence = (this.sequence + 1) & 0xff;
    const bytes = Buffer.alloc(18);
    bytes.set([0xa5, 0x01, this.sequence, drive]);
    [steering, throttle, 1510, 1500, 1200, 200].forEach((number, index) =>
      bytes.writeUInt16LE(number, 4 + 2 * index),
    );
    bytes.writeUInt16LE(crc16(bytes.subarray(1, 16)), 16);
    this.chip.usbCtrl.endpointReadDone(this.usb.outEndpoint, bytes);
  }

  // Sends commands every 20 ms. Returns the last status.
  drive(millis, drive, steering, throttle) {
    this.received = [];
    for (let passed = 0; passed < millis; passed += 20) {
      this.send(drive, steering, throttle);
      this.run(20_000);
    }
    const bytes = Buffer.from(this.received.slice(-12));
    check(bytes.length === 12 && bytes[0] === 0xa5 && bytes[1] === 0x81, "a status", bytes);
    check(bytes.readUInt16LE(10) === crc16(bytes.subarray(1, 10)), "its checksum", bytes);
    check(bytes[2] === this.sequence, "it answers the last command", bytes);
    return {
      state: bytes[3],
      steering: bytes.readUInt16LE(4),
      throttle: bytes.readUInt16LE(6),
      dropped: bytes.readUInt16LE(8),
    };
  }

  // Pulses of a receiver, every 20 ms.
  receive(millis, steering, throttle, switched) {
    const start = this.micros();
    for (let passed = 0; passed < millis; passed += 20) {
      for (const [name, us] of [["steering", steering], ["throttle", throttle], ["switch", switched]]) {
        const pin = this.chip.gpio[RECEIVER[name]];
        const rise = start + 1000 * passed + 3000;
        this.at(rise, () => pin.setInputValue(true));
        this.at(rise + us, () => pin.setInputValue(false));
      }
    }
  }

  last(pin) {
    return this.pulses[pin].at(-1);
  }

  // The last pulses are these, to a microsecond or two.
  puts(steering, throttle, what) {
    for (const [pin, us] of [[SERVO, steering], [MOTOR, throttle]]) {
      const { at, us: found } = this.last(pin) ?? { at: 0, us: 0 };
      const age = this.micros() - at;
      check(Math.abs(found - us) <= 2.5 && age < 41_000, what, { pin, us, found, age });
    }
  }
}

function check(holds, what, ...found) {
  if (!holds) {
    console.error(`failed: ${what}:`, ...found);
    process.exit(1);
  }
}

function passed(what) {
  console.log(`passed: ${what}`);
}

const bench = new Bench(process.argv[2]);
for (let tries = 0; tries < 300 && !bench.connected; tries++) bench.run(10_000);
check(bench.connected, "the USB port is configured");
bench.run(200_000);
check(bench.pulses[SERVO].length + bench.pulses[MOTOR].length === 0, "no pulse before a command");
passed(`the USB port is there, and nothing is put out before a command`);

let status = bench.drive(100, NO, 1700, 1500);
check(status.state === STATES.obeys, "it obeys", status);
bench.puts(1700, 1500, "the pulses of a command that does not drive");
const [earlier, later] = bench.pulses[SERVO].slice(-2);
check(Math.abs(later.at - earlier.at - 20_000) <= 2, "a period of 20 ms", earlier, later);
status = bench.drive(100, AHEAD, 1900, 1650);
check(status.state === STATES.obeys && status.throttle === 1650, "it drives", status);
bench.puts(1900, 1650, "the pulses of a command that drives");
passed("commands are put out as pulses, every 20 ms");

// The last command came 20 ms ago.
const silent = bench.micros() - 20_000;
bench.run(60_000);
bench.puts(1900, 1650, "80 ms after the last command");
bench.run(80_000);
bench.puts(1510, 1200, "the brake, 160 ms after the last command");
const braked = bench.pulses[MOTOR].find((pulse) => pulse.at > silent && Math.abs(pulse.us - 1200) < 3);
bench.run(200_000);
bench.puts(1510, 1500, "the stop, 360 ms after the last command");
const stopped = bench.pulses[MOTOR].find((pulse) => pulse.at > braked.at && Math.abs(pulse.us - 1500) < 3);
const millis = (pulse) => Math.round((pulse.at - silent) / 1000);
passed(`silence: the first brake pulse after ${millis(braked)} ms, the first pulse of a stop after ${millis(stopped)} ms`);
status = bench.drive(60, AHEAD, 1900, 1650);
check(status.state === STATES.holds, "it holds", status);
bench.puts(1510, 1500, "it does not drive before a command that does not");
bench.drive(40, NO, 1500, 1500);
status = bench.drive(60, AHEAD, 1900, 1650);
check(status.state === STATES.obeys, "it obeys again", status);
passed("it drives again only after a command that does not drive");

bench.receive(200, 1234, 1432, 1200);
status = bench.drive(100, AHEAD, 1900, 1650);
check(status.state === STATES.obeys, "a receiver whose switch is off", status);
bench.run(1);
bench.events = [];
for (const pin of Object.values(RECEIVER)) bench.chip.gpio[pin].setInputValue(false);
bench.receive(200, 1234, 1432, 1800);
status = bench.drive(160, AHEAD, 1900, 1650);
check(status.state === STATES.remote, "the transmitter takes over", status);
bench.puts(1234, 1432, "the transmitter's pulses");
passed("a transmitter takes over, and its pulses are measured to 2.5 us");
status = bench.drive(260, AHEAD, 1900, 1650);
check(status.state === STATES.lost, "the transmitter is lost", status);
bench.puts(1510, 1500, "a lost transmitter stops the car");
passed("a lost transmitter stops the car");
check(status.dropped === 0, "no command was damaged", status);
bench.hangs = bench.micros();
bench.run(60_000);
check(false, "the watchdog resets a chip that hangs");
