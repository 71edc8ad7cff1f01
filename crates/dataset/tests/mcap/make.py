"""Writes the logs beside it, with Python's MCAP libraries as an independent encoder.

    python -m venv venv && venv/bin/pip install mcap==1.6.0 mcap-ros2-support==0.6.0 pillow numpy
    venv/bin/python make.py

Frame i shows i in its brightness, at 100 + i / 20 s by the camera's stamp. It was recorded 30 ms later.
"""

import io
import math
import pathlib

from mcap.writer import CompressionType
from mcap_ros2.writer import Writer
from PIL import Image

HERE = pathlib.Path(__file__).parent
FRAMES = 12
RULE = "=" * 80
HEADER = f"""
{RULE}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{RULE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
COMPRESSED_IMAGE = "std_msgs/Header header\nstring format\nuint8[] data" + HEADER
JOY = "std_msgs/Header header\nfloat32[] axes\nint32[] buttons" + HEADER
DRIVE = """float32 steering_angle
float32 steering_angle_velocity
float32 speed
float32 acceleration
float32 jerk
"""
STAMPED = (
    "std_msgs/Header header\nackermann_msgs/AckermannDrive drive"
    + HEADER
    + f"{RULE}\nMSG: ackermann_msgs/AckermannDrive\n"
    + DRIVE
)
RAW = "std_msgs/Header header\nuint32 height\nuint32 width" + HEADER


def jpeg(i):
    """Brighter with i; 16 x 12 pixels."""
    image = Image.new("L", (16, 12), 20 * i)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def header(seconds, frame_id):
    nanoseconds = round(seconds * 1e9)
    stamp = {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9}
    return {"stamp": stamp, "frame_id": frame_id}


def recorded(seconds):
    """The time of recording, 30 ms after the stamp."""
    return round((seconds + 0.03) * 1e9)


class Log:
    def __init__(self, name, **options):
        self.file = open(HERE / name, "wb")
        self.writer = Writer(self.file, **options)
        self.schemas = {}

    def write(self, topic, datatype, definition, message, seconds):
        if datatype not in self.schemas:
            self.schemas[datatype] = self.writer.register_msgdef(datatype, definition)
        self.writer.write_message(
            topic,
            self.schemas[datatype],
            message,
            log_time=recorded(seconds),
            publish_time=recorded(seconds),
        )

    def pictures(self, topic="/camera/image/compressed", frames=FRAMES):
        for i in range(frames):
            # The frame's name has a length that needs padding behind it.
            message = {"header": header(100 + i / 20, "cam"), "format": "jpeg", "data": jpeg(i)}
            self.write(topic, "sensor_msgs/msg/CompressedImage", COMPRESSED_IMAGE, message, 100 + i / 20)

    def drive(self, topic, seconds, angle, speed, stamped=True):
        drive = {
            "steering_angle": angle,
            "steering_angle_velocity": 0.0,
            "speed": speed,
            "acceleration": 0.0,
            "jerk": 0.0,
        }
        if stamped:
            message = {"header": header(seconds, "base"), "drive": drive}
            self.write(topic, "ackermann_msgs/msg/AckermannDriveStamped", STAMPED, message, seconds)
        else:
            self.write(topic, "ackermann_msgs/msg/AckermannDrive", DRIVE, drive, seconds)

    def joy(self, seconds, axes):
        message = {"header": header(seconds, "joy"), "axes": axes, "buttons": [0, 1, 0]}
        self.write("/joy", "sensor_msgs/msg/Joy", JOY, message, seconds)

    def finish(self):
        self.writer.finish()
        self.file.close()


# Commands at 50 Hz, 7 ms after full fiftieths, from before the first picture until 0.3 s: pictures
# from 0.45 s on have no command. The messages are not in the order of their times. A joystick is there
# too, and an empty topic of pictures.
log = Log("ackermann.mcap", compression=CompressionType.ZSTD)
log.pictures()
for j in range(-1, 15):
    seconds = 100 + j / 50 + 0.007
    log.drive("/drive", seconds, 0.2 * math.sin(j / 3), 1 + j / 10)
for j in range(12):
    log.joy(100 + j / 20 - 0.01, [0.9, 0.9])
log.finish()

# A joystick with six axes.
log = Log("joy.mcap", compression=CompressionType.LZ4)
log.pictures()
for j in range(12):
    log.joy(100 + j / 20 - 0.01, [j / 11, 0.5, 0.0, -j / 11, 0.25, 1.0])
log.finish()

# Without compression; the commands have no stamp, so that the times of recording count.
log = Log("plain.mcap", compression=CompressionType.NONE)
log.pictures()
log.pictures("/rear/image/compressed", 2)
for j in range(12):
    log.drive("/ackermann_cmd", 100 + j / 20 - 0.01, 0.1, 2.0, stamped=False)
log.finish()

# Pictures without compression only.
log = Log("raw.mcap", compression=CompressionType.ZSTD)
message = {"header": header(100, "cam"), "height": 480, "width": 640}
log.write("/camera/image_raw", "sensor_msgs/msg/Image", RAW, message, 100)
log.finish()
