"""The sandbox without namespaces says so."""

import logging

from evodistill.sandbox.process import Process


def test_it_says_what_it_does_not_protect(caplog):
    with caplog.at_level(logging.WARNING):
        Process(workers=1).check()
    assert "nothing keeps it from the files" in caplog.text


def test_the_network_is_closed_all_the_same():
    from evodistill.sandbox import Program

    code = "import socket\ndef f():\n    return socket.socket() is not None"
    ((outcome,),) = Process(allow=["socket"], workers=1).run([Program(code, "f", [[]])])
    assert outcome.reason == "exception"
    assert "PermissionError" in outcome.detail
