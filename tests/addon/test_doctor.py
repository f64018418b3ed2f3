"""The backend's doctor, asked by the add-on."""

from __future__ import annotations

from pathlib import Path

import pytest
from blender_addon.link.doctor import Doctor
from launcher import backend_python, wait_until


def test_the_real_doctors_findings_come_one_by_one(tmp_path: Path) -> None:
    doctor = Doctor(backend_python(tmp_path), tmp_path / "doctor.log")
    wait_until(doctor.poll, 120)
    assert doctor.sentence == ""
    assert doctor.findings[0].text.startswith("torch ")
    assert any("embedded priors" in finding.text and finding.good for finding in doctor.findings)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ('echo \'{"good": false, "text": "No room."}\'; exit 1', ""),
        ("echo 'No such option: --json'; exit 2", "The doctor could not look. No such option: --json"),
        ("exit 3", "The doctor could not look. It ended with the status 3."),
    ],
)
def test_what_is_bad_is_a_finding_and_a_doctor_that_fails_a_sentence(
    tmp_path: Path, script: str, sentence: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    doctor = Doctor(python, tmp_path / "doctor.log")
    wait_until(doctor.poll, 10)
    assert doctor.sentence == sentence
    assert [finding.good for finding in doctor.findings] == ([] if sentence else [False])


def test_a_python_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    doctor = Doctor(tmp_path / "python", tmp_path / "doctor.log")
    assert doctor.over
    assert "cannot be started" in doctor.sentence
