"""What is remembered beside records is not what was written: that is told, and never believed."""

import hashlib

import pytest

from quantkeep import Corrupt, Receipt, schema
from quantkeep.batch import Outcome
from quantkeep.contract import flipped_receipt, replayed
from quantkeep.errors import FormatTooNew, OperationConflict
from quantkeep.tape import Trade

DIGEST = bytes(range(16))
RECEIPT = Receipt((Outcome(range(5, 8), 3), Outcome((1, 9), 1)), 1_795_256_876_435_655, "fill 2")
OLD = '{"at":1795256876435655,"outcomes":[[3,[[5,3]]],[1,[[1,1],[9,1]]]]}'


def flips(text):
    """*text* with each bit of it flipped, one after the other, as a file would be read."""
    data = text.encode()
    for place in range(len(data)):
        for bit in range(8):
            changed = data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
            yield changed.decode(errors="replace")


@pytest.mark.requirement("Z-6", "Z-10")
@pytest.mark.parametrize("digest", [b"", DIGEST])
def test_every_flipped_bit_of_a_receipt_is_corrupt(digest):
    text = RECEIPT.to_json(digest)
    found = Receipt.from_json(text, "fill 2", digest)
    assert (found.outcomes, found.at, found.replayed) == (RECEIPT.outcomes, RECEIPT.at, True)
    for changed in flips(text):
        with pytest.raises(Corrupt, match="receipt of operation 'fill 2'") as caught:
            Receipt.from_json(changed, "fill 2", digest)
        assert caught.value.locator == "operations 'fill 2'"


@pytest.mark.requirement("Z-6", "Z-10")
def test_a_receipt_is_of_its_operation_and_of_its_batch():
    text = RECEIPT.to_json(DIGEST)
    for op_id, digest in (("fill 3", DIGEST), ("fill 2", b""), ("fill 2", DIGEST[::-1])):
        with pytest.raises(Corrupt, match="checksum"):
            Receipt.from_json(text, op_id, digest)


@pytest.mark.requirement("Z-6", "Z-10")
def test_a_damaged_digest_is_no_conflict():
    text = RECEIPT.to_json(DIGEST)
    assert replayed("fill 2", DIGEST, DIGEST, text).at == RECEIPT.at
    with pytest.raises(OperationConflict):
        replayed("fill 2", b"another batch", DIGEST, text)
    with pytest.raises(Corrupt):
        replayed("fill 2", DIGEST, b"!" + DIGEST[1:], text)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_an_engine_takes_the_algorithm_that_it_has(algorithm):
    of = f"{OLD}fill 2{DIGEST.hex()}".encode()
    text = f'{{"check": "{algorithm}:{hashlib.new(algorithm, of).hexdigest()[:8]}", {OLD[1:]}'
    assert Receipt.from_json(text, "fill 2", DIGEST).outcomes == RECEIPT.outcomes
    with pytest.raises(Corrupt):
        Receipt.from_json(flipped_receipt(text), "fill 2", DIGEST)


@pytest.mark.parametrize("digest", [b"", DIGEST])
def test_receipts_of_before_there_were_checksums_are_read(digest):
    assert Receipt.from_json(OLD, "fill 2", digest).outcomes == RECEIPT.outcomes


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize(
    "text",
    ["", "1", "[]", "{}", '{"at":1}', OLD.replace("[[5,3]]", "[5,3]"), f'{{"chegk": 1, {OLD[1:]}'],
)
def test_what_is_no_receipt_is_corrupt(text):
    with pytest.raises(Corrupt):
        Receipt.from_json(text, "fill 2")


@pytest.mark.requirement("Z-3", "Z-6")
def test_flipped_bits_of_a_description_are_corrupt():
    text = schema.describe([Trade.collection])
    for number, changed in enumerate(flips(text)):
        if number < 400 or number % 53 == 0:  # the checksum and what follows, and some of the rest
            for read in (schema.understand, schema.check):
                with pytest.raises(Corrupt, match="description of its collections"):
                    read(changed)
            assert not schema.is_described(changed, text)


@pytest.mark.requirement("Z-3")
def test_descriptions_of_before_there_were_checksums_are_read_and_say_the_same():
    text = schema.describe([Trade.collection])
    old = "{" + text.partition(", ")[2]
    assert old.startswith('{"collections": ')
    schema.check(old)
    assert schema.understand(old) == schema.understand(text)
    assert schema.is_described(old, text)
    assert schema.is_described(text, text)
    assert not schema.is_described(None, text)
    assert not schema.is_described(old, schema.describe([]))
    with pytest.raises(FormatTooNew):
        schema.understand(old.replace('"format": 1', '"format": 2'))
