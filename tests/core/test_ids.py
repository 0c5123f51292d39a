from core.ids import new_id


def test_ids_sort_by_time_and_name_their_kind() -> None:
    ids = [new_id("job") for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    assert all(id.startswith("job_") for id in ids)
