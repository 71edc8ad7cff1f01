"""Formats the measurements as the tables and ratios of docs/performance.md."""

import statistics

import numpy as np

# The greatest error of fp32 answers, in the unit of the network's outputs.
MOST_FP32 = 1e-4


def text(found, rows):
    machine = found["machine"]
    engines = [row for row in rows if "part" not in row and not row.get("anchor")]
    cameras = [row for row in rows if "part" in row]
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}; medians of "
        f"{len(found['rounds'])} rounds; load average at the start {machine['load'][0]:.1f}.",
        markdown(ENGINES, engines),
    ]
    if cameras:
        parts.append("From the bytes of a 640x480 frame, one thread:")
        parts.append(markdown(CAMERAS, cameras))
    parts.append(ratios(engines, cameras))
    return "\n\n".join(parts)


def measured(found, outputs):
    """One row for each job: medians over the rounds, greatest errors, a verdict.

    `outputs` are the recipe's, whose gates limit the errors of INT8 answers.
    """
    scales = [output["scale"] for output in outputs]
    gates = np.array([output["gate"]["mse"] for output in outputs])
    rounds = found["rounds"]
    reference = np.array(rounds[0][0]["answers"])
    anchors = [(runs[0]["median_us"] + runs[-1]["median_us"]) / 2 for runs in rounds]
    rows = []
    for index, job in enumerate(found["jobs"]):
        row, each = dict(job), [runs[index] for runs in rounds]
        rows.append(row)
        row["failed"] = next((run["failed"] for run in each if "failed" in run), None)
        if row["failed"]:
            continue
        row["medians"] = [run["median_us"] for run in each]
        row["median"] = statistics.median(row["medians"])
        row["p99"] = statistics.median(run["p99_us"] for run in each)
        row["tail"] = statistics.median(run["p99_us"] / run["median_us"] for run in each)
        row["ratio"] = over(row["medians"], anchors)
        misses = np.array([run["answers"] for run in each]) - reference
        row["worst"] = np.abs(misses).max()
        row["mse"] = ((misses * scales) ** 2).mean(axis=1).max(axis=0)
    for row in rows:
        row["verdict"] = verdict(row, gates)
    return rows


def ours_wrong(rows):
    """Pilotage's rows that failed or gave wrong answers."""
    own = (row for row in rows if row["engine"] == "Pilotage")
    return [row for row in own if row["verdict"] not in ("right", NOT_JUDGED)]


# The verdict on rows that start from camera frames, which were resized twice.
NOT_JUDGED = "not judged"


def verdict(row, gates):
    if row["failed"]:
        return f"failed: {row['failed']}"
    if "part" in row:
        return NOT_JUDGED
    if row["what"] == "fp32":
        return "right" if row["worst"] <= MOST_FP32 else f"wrong by {row['worst']:.1e}"
    times = (row["mse"] / gates).max()
    return "right" if times <= 1 else f"wrong: {times:.1f} times the recipe's gate"


def find(rows, **criteria):
    fits = (row for row in rows if not row["failed"] and criteria.items() <= row.items())
    return next(fits, None)


def over(ones, others):
    """The ratio of two times in the same round, as the median over the rounds."""
    return statistics.median(one / other for one, other in zip(ones, others))


ENGINES = {
    "engine": lambda row: row["engine"],
    "version": lambda row: row["version"],
    "precision": lambda row: row["what"],
    "threads": lambda row: str(row["threads"]),
    "median us": lambda row: f"{row['median']:.0f}",
    "p99 us": lambda row: f"{row['p99']:.0f}",
    "of ONNX Runtime fp32": lambda row: f"{row['ratio']:.2f}",
    "error, speed (m/s)²": lambda row: f"{row['mse'][0]:.1e}",
    "error, yaw (rad/s)²": lambda row: f"{row['mse'][1]:.1e}",
    "verdict": lambda row: row["verdict"],
}
CAMERAS = {
    "with": lambda row: row["engine"],
    "version": lambda row: row["version"],
    "frame": lambda row: row["what"],
    "to": lambda row: row["part"],
    "median us": lambda row: f"{row['median']:.0f}",
    "p99 us": lambda row: f"{row['p99']:.0f}",
    "of ONNX Runtime fp32": lambda row: f"{row['ratio']:.2f}",
}


def markdown(columns, rows):
    lines = [list(columns), ["---"] * len(columns)]
    for row in rows:
        cells = []
        for name, cell in columns.items():
            try:
                cells.append(cell(row))
            except KeyError:  # The job failed, so the row has no measurements.
                cells.append("")
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def ratios(engines, cameras):
    """The project's aims as ratios of times in the same rounds."""
    ours = {(what, threads): find(engines, engine="Pilotage", what=what, threads=threads)
            for what in ("fp32", "int8") for threads in (1, 2)}
    int8, fp32 = ours["int8", 1], ours["fp32", 1]
    rivals = [row for row in engines if row["verdict"] == "right" and row["threads"] == 1
              and row["what"] == "int8" and row["engine"] != "Pilotage"]
    rival = min(rivals, key=lambda row: row["median"], default=None)
    named = f"the fastest right INT8 peer ({rival['engine']})" if rival else ""
    openvino = find(engines, engine="OpenVINO", what="fp32", threads=1)
    pairs = [
        (f"our INT8 / {named}", int8, rival, 0.65),
        ("our INT8, two threads / one", ours["int8", 2], int8, 0.60),
        ("our fp32, two threads / one", ours["fp32", 2], fp32, None),
        ("our fp32 / OpenVINO's fp32", fp32, openvino, 0.9),
    ]
    for frame in ("rgb8", "yuyv"):
        rival_row = find(cameras, part="controls", what=frame, engine="OpenCV, ONNX Runtime")
        own = find(cameras, part="controls", what=frame, engine="Pilotage")
        pairs.append((f"{frame} to controls, ours / OpenCV and ONNX Runtime", own, rival_row, 0.25))
        whole = find(cameras, part="controls", what=frame,
                     engine="OpenCV, ONNX Runtime, whole frame")
        pairs.append((f"{frame} to controls, ours / the same, whole frame", own, whole, 0.25))
    found = [("our INT8 / ONNX Runtime's fp32", int8["ratio"], 0.18)] if int8 else []
    found += [(name, over(one["medians"], other["medians"]), aim)
              for name, one, other, aim in pairs if one and other]
    for row, name, aim in ((int8, "INT8", 1.3), (fp32, "fp32", None)):
        if row:
            found.append((f"our {name}, p99 / median", row["tail"], aim))
    lines = ["| ratio | | aim |", "| --- | --- | --- |"]
    lines += [f"| {name} | {value:.3f} | {judged(value, aim)} |" for name, value, aim in found]
    return "\n".join(lines)


def judged(value, aim):
    return "" if aim is None else f"at most {aim}: {'met' if value <= aim else 'missed'}"
