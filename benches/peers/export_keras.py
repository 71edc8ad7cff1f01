"""Exports networks of Keras with random weights, to be compared by `cargo xtask peers --models`.

    python3 -m venv /tmp/keras
    /tmp/keras/bin/pip install tensorflow-cpu tf_keras tf2onnx onnx onnxruntime
    git clone https://github.com/autorope/donkeycar /tmp/donkeycar
    git clone https://github.com/JdeRobot/DeepLearningStudio /tmp/jderobot
    /tmp/keras/bin/python benches/peers/export_keras.py FOLDER /tmp/donkeycar /tmp/jderobot [NAME ...]

Donkeycar's and JdeRobot's networks are made by their authors' code, which is read from the clones;
the others are rebuilt from descriptions or Keras's own. tf2onnx writes them with opset 13, and
LiteRT's converter those of one picture for LiteRT, in float32 and in INT8 (integer inputs and
outputs, calibrated with the shipped frames). Those that do not answer with two numbers, or have
other inputs than one picture, get a recipe.
"""

import multiprocessing
import os
import pathlib
import sys
import types
from unittest import mock

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
import tf_keras as keras
from PIL import Image

from recipe import CONTROLS, FRAMES, recipe

LAYERS = keras.layers


def donkeycar(folder):
    """The module that makes Donkeycar's networks, without the rest of Donkeycar."""
    return executed(folder / "donkeycar/parts/keras.py", {
        "donkeycar": mock.MagicMock(), "donkeycar.utils": mock.MagicMock(),
        "donkeycar.pipeline.types": mock.MagicMock(),
        "donkeycar.parts.interpreter": mock.MagicMock()})


def jderobot(folder, part, file):
    """A module that makes one of JdeRobot's networks. Some import fewer layers than they use, and
    name Adam's rate as Keras did."""
    there = {name: getattr(LAYERS, name) for name in ("Conv3D", "GlobalAveragePooling3D",
                                                     "TimeDistributed", "LSTM")}
    return executed(folder / part / "utils" / file, {}, there)


def executed(file, modules, names=()):
    module = types.ModuleType(file.stem)
    module.__dict__.update(names)
    module.Adam = None
    source = file.read_text().replace("Adam(lr=", "Adam(learning_rate=")
    with mock.patch.dict(sys.modules, modules):
        exec(compile(source, file, "exec"), module.__dict__)
    return module


def named(name, meanings):
    """The recipe's tables for outputs of one number each."""
    return "".join(f'\n[[output]]\nname = "{name}:{index}"\nmeaning = "{meaning}"\n'
                   for index, meaning in enumerate(meanings))


def outputs(**meanings):
    return "".join(f'\n[[output]]\nname = "{name}"\nmeaning = "{meaning}"\n'
                   for name, meaning in meanings.items())


def bins(steering, throttle):
    """Donkeycar's categorical answers (donkeycar/utils.py, linear_unbin)."""
    return (f'\n[[output]]\nname = "{steering}"\nmeaning = "steering"\n'
            'bins = { count = 15, first = -1.0, last = 1.0, decode = "argmax" }\n'
            f'\n[[output]]\nname = "{throttle}"\nmeaning = "throttle"\n'
            'bins = { count = 20, first = 0.0, last = 0.5, decode = "argmax" }\n')


def one(steering):
    return f'\n[[output]]\nname = "{steering}"\nmeaning = "steering"\n'


def first_two(name):
    return CONTROLS.replace("controls", name)


def networks(donkey, jde):
    """Where each network comes from, how to make it, and the tables of its recipe."""
    parts = donkeycar(donkey)
    picture = (120, 160, 3)
    constant = "throttle = { constant = 0.2 }"
    donkeys = "Donkeycar, authors' code"
    made = {
        "donkey_k_linear": (donkeys, lambda: parts.default_n_linear(2, picture), None),
        "donkey_categorical": (donkeys, lambda: parts.default_categorical(picture),
                               bins("angle_out", "throttle_out")),
        "donkey_inferred": (donkeys, lambda: parts.default_n_linear(1, picture),
                            one("n_outputs0"), constant),
        "donkey_imu": (donkeys, lambda: parts.default_imu(2, 6, picture),
                       outputs(out_0="steering", out_1="throttle")
                       + "\n[fixed_inputs]\nimu_in = 0\n"),
        "donkey_behavioral": (donkeys, lambda: parts.default_bhv(2, picture),
                              bins("angle_out", "throttle_out")
                              + "\n[fixed_inputs]\nxbehavior_in = 0\n"),
        "donkey_localizer": (donkeys, lambda: parts.default_loc(8, picture),
                             outputs(angle="steering", throttle="throttle")),
        "donkey_memory": (donkeys, lambda: parts.default_memory(picture),
                          outputs(n_outputs0="steering", n_outputs1="throttle")
                          + "\n[fixed_inputs]\nmem_in = 0\n"),
        "donkey_lstm": (donkeys, lambda: parts.rnn_lstm(3, 2, picture),
                        '\n[memory]\npictures = 3\naxis = "time"\n' + first_two("model_outputs")),
        "donkey_3dcnn": (donkeys, lambda: parts.build_3d_cnn(picture, 20, 2),
                         '\n[memory]\npictures = 20\naxis = "time"\n' + first_two("outputs")),
        "donkey_latent": (donkeys, lambda: parts.default_latent(2, picture),
                          outputs(n_outputs0="steering", n_outputs1="throttle")),
    }
    formula, carla = "Formula1-FollowLine/tensorflow", "Carla-FollowLane/tensorflow"
    for name, part, file, function, shape in (
            ("jde_pilotnet", f"{formula}/PilotNet", "pilotnet.py", "pilotnet_model", (66, 200, 3)),
            ("jde_carla_pilotnet", f"{carla}/PilotNet", "pilotnet.py", "pilotnet_model",
             (66, 200, 3)),
            ("jde_deepest_lstm", f"{formula}/DeepestLSTMTinyPilotNet",
             "deepest_lstm_tinypilotnet.py", "deepest_lstm_tinypilotnet_model", (50, 100, 3)),
            ("jde_pilotnet_x3", f"{formula}/PilotNetx3", "pilotnet_x3.py", "pilotnet_x3",
             (3, 66, 200, 3)),
            ("jde_x3_conv3d", f"{carla}/PilotNetx3Conv3d", "pilotnet_x3_conv3d.py",
             "pilotnet_x3_conv3d", (3, 66, 200, 3)),
            ("jde_x3_time_distributed", f"{carla}/PilotNetx3TimeDistributed",
             "pilotnet_x3_time_distributed.py", "pilotnet_x3_time_distributed", (3, 66, 200, 3))):
        tables = first_two("LAST")
        if len(shape) == 4:
            tables = '\n[memory]\npictures = 3\naxis = "time"\n' + tables
        made[name] = ("JdeRobot, authors' code",
                      lambda part=part, file=file, function=function, shape=shape:
                      getattr(jderobot(jde, part, file), function)(shape, 1e-4), tables)
    rebuilt = "rebuilt from a description"
    made |= {
        "udacity_elu": (rebuilt, lambda: udacity("elu", 0), one("LAST"), constant),
        "udacity_crop": (rebuilt, lambda: udacity("relu", 60), one("LAST"), constant),
        "commaai_steering": (rebuilt, commaai, one("LAST"), constant),
        "keras_mobilenet_v2": ("Keras's own", lambda: keras.applications.MobileNetV2(
            (224, 224, 3), weights=None, classes=2, classifier_activation=None), first_two("LAST")),
        "keras_mobilenet_v3_small": ("Keras's own", lambda: keras.applications.MobileNetV3Small(
            (224, 224, 3), weights=None, classes=2, classifier_activation=None,
            include_preprocessing=False), first_two("LAST")),
        "keras_resnet50": ("Keras's own", lambda: keras.applications.ResNet50(
            weights=None, classes=2, classifier_activation=None, input_shape=(224, 224, 3)),
            first_two("LAST")),
    }
    return made


def udacity(activation, cropped):
    """The networks of Udacity's simulator course: values centred, cropped, PilotNet."""
    height = 160 if cropped else 66
    made = [LAYERS.Input((height, 320 if cropped else 200, 3)), LAYERS.Lambda(lambda x: x - 0.5)]
    if cropped:
        made.append(LAYERS.Cropping2D(((cropped, 25), (0, 0))))
    for filters, size, stride in ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)):
        made.append(LAYERS.Conv2D(filters, size, strides=stride, activation=activation))
    made += [LAYERS.Flatten()]
    made += [LAYERS.Dense(units, activation=activation) for units in (100, 50, 10)]
    return keras.Sequential([*made, LAYERS.Dense(1)])


def commaai():
    """comma.ai's steering model of 2016."""
    made = [LAYERS.Input((160, 320, 3)), LAYERS.Lambda(lambda x: 2 * x - 1)]
    for filters, size, stride in ((16, 8, 4), (32, 5, 2), (64, 5, 2)):
        made += [LAYERS.Conv2D(filters, size, strides=stride, padding="same"), LAYERS.ELU()]
    return keras.Sequential([*made, LAYERS.Flatten(), LAYERS.Dense(512), LAYERS.ELU(),
                             LAYERS.Dense(1)])


def export(folder, name, source, make, tables, top=""):
    keras.utils.set_random_seed(3)
    model = make()
    shapes = [tuple(value.shape[1:]) for value in model.inputs]
    settle(model, shapes)
    signature = [tf.TensorSpec((1, *shape), tf.float32, name=value.name.split(":")[0])
                 for shape, value in zip(shapes, model.inputs)]
    outputs = [value.name.split("/")[0] for value in model.outputs]

    @tf.function(input_signature=signature)
    def call(*inputs):
        answers = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
        answers = answers if isinstance(answers, (list, tuple)) else [answers]
        return {key: answer for key, answer in zip(outputs, answers)}

    converted, _ = tf2onnx.convert.from_function(call, signature, opset=13)
    entry = converted.metadata_props.add()
    entry.key, entry.value = "source", source
    onnx.save(converted, folder / f"{name}.onnx")
    if tables:
        height, width = shapes[0][-3:-1]
        recipe(folder, name, height, width, tables.replace("LAST", outputs[-1]), "nhwc", top)
    if len(shapes) == 1 and len(shapes[0]) == 3:
        lite(folder, name, call, shapes[0])
    print(name, flush=True)


def frames(shape):
    height, width = shape[-3:-1]
    files = sorted(FRAMES.glob("*.jpg"))[::9][:64]
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((width, height)), np.float32)
                     for file in files]) / 255


def settle(model, shapes):
    """Sets the statistics of batch normalization to those of the shipped frames, and the scale of
    the last layer."""
    normal = [layer for layer in model.layers if isinstance(layer, LAYERS.BatchNormalization)]
    if not normal or len(shapes) > 1:
        return
    for layer in normal:
        layer.momentum = 0.0
    pictures = frames(shapes[0])
    if len(shapes[0]) == 4:
        pictures = np.stack([pictures] * shapes[0][0], 1)
    model(pictures, training=True)
    last = model.layers[-1]
    if isinstance(last, LAYERS.Dense):
        answers = model(pictures, training=False).numpy()
        scale = 0.3 / np.maximum(answers.std(0), 1e-9)
        weights, bias = last.get_weights()
        last.set_weights([weights * scale, (bias - answers.mean(0)) * scale])


def lite(folder, name, call, shape):
    """Writes the network for LiteRT. The inputs and outputs of the INT8 one are INT8."""
    for precision in ("fp32", "int8"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
        if precision == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([frame[None]] for frame in frames(shape))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / f"{name}.{precision}.tflite").write_bytes(converter.convert())


def export_one(folder, donkey, jde, name):
    source, make, tables, *top = networks(donkey, jde)[name]
    export(folder, name, source, make, tables, *top)


def main():
    folder, donkey, jde = (pathlib.Path(it) for it in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    # A process for each: LiteRT's converter crashes on some.
    context = multiprocessing.get_context("spawn")
    for name in sys.argv[4:] or networks(donkey, jde):
        process = context.Process(target=export_one, args=(folder, donkey, jde, name))
        process.start()
        process.join()
        if process.exitcode != 0:
            print(f"{name}: ended with {process.exitcode}", flush=True)


if __name__ == "__main__":
    main()
