"""Collected by ``pytest --pyargs quantkeep_conformance``: every suite, on ``--store URL``."""

from quantkeep_conformance import suites


class TestValues(suites.Values):
    __doc__ = suites.Values.__doc__


class TestRefusals(suites.Refusals):
    __doc__ = suites.Refusals.__doc__


class TestRoundtrip(suites.Roundtrip):
    __doc__ = suites.Roundtrip.__doc__


class TestIdentity(suites.Identity):
    __doc__ = suites.Identity.__doc__


class TestReferences(suites.References):
    __doc__ = suites.References.__doc__


class TestRevisions(suites.Revisions):
    __doc__ = suites.Revisions.__doc__


class TestListing(suites.Listing):
    __doc__ = suites.Listing.__doc__


class TestTallies(suites.Tallies):
    __doc__ = suites.Tallies.__doc__


class TestOneWinner(suites.OneWinner):
    __doc__ = suites.OneWinner.__doc__


class TestLeases(suites.Leases):
    __doc__ = suites.Leases.__doc__


class TestOperations(suites.Operations):
    __doc__ = suites.Operations.__doc__


class TestAtomicity(suites.Atomicity):
    __doc__ = suites.Atomicity.__doc__


class TestDurability(suites.Durability):
    __doc__ = suites.Durability.__doc__


class TestFaults(suites.Faults):
    __doc__ = suites.Faults.__doc__


class TestFiles(suites.Files):
    __doc__ = suites.Files.__doc__


class TestDamagedFiles(suites.DamagedFiles):
    __doc__ = suites.DamagedFiles.__doc__


class TestReopen(suites.Reopen):
    __doc__ = suites.Reopen.__doc__


class TestCorruption(suites.Corruption):
    __doc__ = suites.Corruption.__doc__


class TestHonesty(suites.Honesty):
    __doc__ = suites.Honesty.__doc__


class TestHousekeeping(suites.Housekeeping):
    __doc__ = suites.Housekeeping.__doc__


class TestEmbedding(suites.Embedding):
    __doc__ = suites.Embedding.__doc__


class TestHostile(suites.Hostile):
    __doc__ = suites.Hostile.__doc__


class TestSecrets(suites.Secrets):
    __doc__ = suites.Secrets.__doc__


class TestServer(suites.Server):
    __doc__ = suites.Server.__doc__


class TestSessions(suites.Sessions):
    __doc__ = suites.Sessions.__doc__


class TestTape(suites.Tape):
    __doc__ = suites.Tape.__doc__


class TestPredictions(suites.Predictions):
    __doc__ = suites.Predictions.__doc__


class TestBacktests(suites.Backtests):
    __doc__ = suites.Backtests.__doc__


class TestKnowledge(suites.Knowledge):
    __doc__ = suites.Knowledge.__doc__


class TestModel(suites.Model):
    __doc__ = suites.Model.__doc__
