import pytest

from nni_dream.priority_building.tables import compare_tables, import_ranks, merge_tables
from nni_dream.search.priorities import PriorityRow, PriorityTable, PriorityTableError, load_priority_table

MADE = {
    "trial_commands": ["c"],
    "seeds": [0],
    "thresholds": {"x": 1.0},
    "n_models": 2,
    "n_trainings": 5,
    "n_failures": 1,
    "hours": 0.5,
    "versions": {},
    "date": "2026-01-01",
}


def table(rows, data="toy", thresholds=None, task="toy", **made):
    actions = {
        condition: [
            {"object": "x", "value": value, "mean_gain": gain, "n": n, "standard_deviation": deviation}
            for value, gain, n, deviation in cells
        ]
        for condition, cells in rows.items()
    }
    made = {**MADE, "data": [data], "thresholds": thresholds or MADE["thresholds"], **made}
    return PriorityTable.model_validate_json(
        PriorityTable(
            version=1,
            task=task,
            source=data,
            provenance=made,
            rows=[{"condition": c, "actions": a} for c, a in actions.items()],
        ).model_dump_json()
    )


OA, RA = "OA-NC-NG-NW", "RA-NC-NG-NW"


class TestMerge:
    def test_pools_mean_deviation_and_counts(self):
        """Gains 0.1, 0.3 and 0.5, 0.5, 0.8: together their mean is 0.44, their deviation 0.2608."""
        one = table({OA: [(1, 0.2, 2, 0.141421356)]}, "a")
        other = table({OA: [(1, 0.6, 3, 0.173205081)]}, "b")
        (action,) = merge_tables([one, other]).rows[0].actions
        assert (action.n, action.mean_gain) == (5, pytest.approx(0.44))
        assert action.standard_deviation == pytest.approx(0.260768, rel=1e-4)

    def test_keeps_what_only_one_has_and_says_whence(self):
        merged = merge_tables([table({OA: [(1, 0.2, 2, 0.1)]}, "a"), table({RA: [(2, 0.3, 1, None)]}, "b")])
        assert [row.condition for row in merged.rows] == [OA, RA]
        made = merged.provenance
        assert (made.data, made.n_models, made.n_trainings, made.n_failures, made.hours) == (("a", "b"), 4, 10, 2, 1.0)

    def test_what_was_measured_is_told_once_and_the_latest_date_counts(self):
        one = table({OA: [(1, 0.2, 2, 0.1)]}, "a", date="2026-02-01")
        other = table({OA: [(1, 0.2, 2, 0.1)]}, "b", date="2026-01-01", seeds=[0, 1])
        made = merge_tables([one, other]).provenance
        assert (made.trial_commands, made.seeds, made.date) == (("c",), (0, 1), "2026-02-01")

    def test_every_version_that_was_used_is_named_once(self):
        used = [{"torch": "2.1", "numpy": "1.0"}, {"torch": "2.2", "numpy": "1.0"}, {"torch": "2.1", "timm": "1.5"}]
        tables = [table({OA: [(1, 0.2, 2, 0.1)]}, data, versions=each) for data, each in zip("abc", used, strict=True)]
        expected = {"torch": "2.1, 2.2", "numpy": "1.0", "timm": "1.5"}
        assert merge_tables(tables).provenance.versions == expected
        assert merge_tables([merge_tables(tables[:2]), tables[2]]).provenance.versions == expected

    def test_rows_stand_in_order_and_their_actions_by_their_gains(self):
        one, other = table({RA: [(1, 0.3, 2, 0.1), (2, 0.2, 2, 0.1)]}, "a"), table({OA: [(1, 0.1, 2, 0.1)]}, "b")
        third = table({RA: [(2, 0.8, 2, 0.1)]}, "c")
        merged = merge_tables([one, other, third])
        assert [(row.condition, [action.value for action in row.actions]) for row in merged.rows] == [
            (OA, [1]),
            (RA, [2, 1]),
        ]

    def test_failures_add_up(self):
        def failed(data, n_failures):
            action = {"object": "x", "value": 1, "mean_gain": -0.2, "n": 3, "n_failures": n_failures}
            row = PriorityRow(condition=OA, actions=[action])
            return table({OA: [(1, 0.2, 2, 0.1)]}, data).model_copy(update={"rows": (row,)})

        (action,) = merge_tables([failed("a", 1), failed("b", 2)]).rows[0].actions
        assert action.n_failures == 3

    def test_refuses_ranks(self):
        with pytest.raises(PriorityTableError, match="has ranks and no measured gains"):
            merge_tables([table({OA: [(1, 0.2, 2, 0.1)]}), load_priority_table("paper_table2")])

    def test_refuses_gains_of_unknown_origin(self):
        unknown = table({OA: [(1, 0.2, 2, 0.1)]}, "b").model_copy(update={"provenance": None})
        with pytest.raises(PriorityTableError, match=r"^table 'b' has no provenance: nothing says whether its gains"):
            merge_tables([table({OA: [(1, 0.2, 2, 0.1)]}, "a"), unknown])

    def test_refuses_a_single_table(self):
        with pytest.raises(PriorityTableError, match="two tables or more, got 1"):
            merge_tables([table({OA: [(1, 0.2, 2, 0.1)]})])

    def test_refuses_other_tasks(self):
        tables = [table({OA: [(1, 0.2, 2, 0.1)]}, task=task) for task in ("text", "image")]
        with pytest.raises(PriorityTableError, match="are of different tasks, image, text: merge those of one"):
            merge_tables(tables)

    def test_refuses_other_thresholds(self):
        tables = [table({OA: [(1, 0.2, 2, 0.1)]}), table({OA: [(1, 0.2, 2, 0.1)]}, thresholds={"x": 2.0})]
        with pytest.raises(PriorityTableError, match="different thresholds"):
            merge_tables(tables)

    def test_refuses_the_same_measurement_twice(self):
        """Alone or in a table that was merged before: each gain would count twice."""
        one, other = table({OA: [(1, 0.2, 2, 0.1)]}, "a"), table({OA: [(1, 0.6, 3, 0.1)]}, "b")
        merged = merge_tables([one, other])
        with pytest.raises(PriorityTableError, match=r"tables 1 \('a'\) and 2 \('a'\) are both measured on a with the"):
            merge_tables([one, one])
        with pytest.raises(PriorityTableError, match=r"tables 1 \('a; b'\) and 3 \('b'\) .* would count twice: leave"):
            merge_tables([merged, table({OA: [(1, 0.1, 2, 0.1)]}, "c"), other])

    @pytest.mark.parametrize("other", [{"data": "b"}, {"seeds": [1]}, {"trial_commands": ["d"]}])
    def test_other_seeds_or_trainings_are_another_measurement(self, other):
        tables = [table({OA: [(1, 0.2, 2, 0.1)]}, "a"), table({OA: [(1, 0.2, 2, 0.1)]}, **{"data": "a", **other})]
        assert merge_tables(tables).rows[0].actions[0].n == 4


class TestCompare:
    def rows(self, order):
        return table({OA: [(value, -place / 10, 2, 0.1) for place, value in enumerate(order)]})

    def test_the_same_order_agrees_and_the_opposite_disagrees(self):
        one = self.rows([1, 2, 3, 4])
        (same,), (opposite,) = compare_tables(one, one), compare_tables(one, self.rows([4, 3, 2, 1]))
        assert (same.n_shared, same.rank_correlation, same.n_best_shared) == (4, pytest.approx(1), 4)
        assert opposite.rank_correlation == pytest.approx(-1)

    @pytest.mark.parametrize(("order", "correlation"), [([2, 1, 3, 4], 0.8), ([2, 4, 1, 3], 0.0), ([3, 1, 2, 4], 0.4)])
    def test_the_correlation_is_spearmans(self, order, correlation):
        """1 - 6 sum(d^2) / (n (n^2 - 1)), d being the differences of the ranks."""
        (agreement,) = compare_tables(self.rows([1, 2, 3, 4]), self.rows(order))
        assert agreement.rank_correlation == pytest.approx(correlation, abs=1e-12)

    def test_of_the_best_five_of_either_those_of_both_are_counted(self):
        (agreement,) = compare_tables(self.rows(range(8)), self.rows(reversed(range(8))))
        assert (agreement.n_shared, agreement.n_best_shared) == (8, 2)

    def test_only_what_both_have_is_compared(self):
        (agreement,) = compare_tables(self.rows([1, 2, 3, 4]), self.rows([9, 1, 8, 2, 3]))
        assert (agreement.n_shared, agreement.rank_correlation) == (3, pytest.approx(1))

    def test_true_is_true_in_either_form(self):
        one, other = (self.rows([value, 1, 2]) for value in (True, "true"))
        (agreement,) = compare_tables(one, other)
        assert agreement.n_shared == 3

    def test_ranks_follow_from_the_gains_and_not_from_the_order_of_the_file(self):
        """A file may be sorted by hand; seven actions, so that the best five are not all."""
        cells = [(value, -value / 10, 2, 0.1) for value in range(7)]
        (agreement,) = compare_tables(table({OA: cells}), table({OA: cells[::-1]}))
        assert (agreement.rank_correlation, agreement.n_best_shared) == (pytest.approx(1), 5)

    def test_ranks_follow_from_the_order_where_a_table_only_ranks(self):
        def ranked(order):
            return table({OA: [(value, None, None, None) for value in order]})

        one, opposite = ranked(range(7)), ranked(range(6, -1, -1))
        (agreement,) = compare_tables(one, opposite)
        assert (agreement.rank_correlation, agreement.n_best_shared) == (pytest.approx(-1), 3)
        (agreement,) = compare_tables(self.rows(range(7)), one)
        assert (agreement.rank_correlation, agreement.n_best_shared) == (pytest.approx(1), 5)

    def test_equal_gains_share_their_rank(self):
        """Gains 3, 2, 2, 1 and 3, 1, 2, 2: ranks 4, 2.5, 2.5, 1 and 4, 1, 2.5, 2.5, whose correlation is 0.5."""
        one, other = (
            table({OA: [(value, gain / 10, 2, 0.1) for value, gain in enumerate(gains)]})
            for gains in ([3, 2, 2, 1], [3, 1, 2, 2])
        )
        (agreement,) = compare_tables(one, other)
        assert agreement.rank_correlation == pytest.approx(0.5)

    def test_equal_gains_alone_have_no_correlation(self):
        (agreement,) = compare_tables(self.rows([1, 2, 3]), table({OA: [(value, 0.0, 2, 0.1) for value in (1, 2, 3)]}))
        assert agreement.rank_correlation is None

    def test_two_shared_actions_have_no_correlation(self):
        (agreement,) = compare_tables(self.rows([1, 2]), self.rows([2, 1]))
        assert agreement.rank_correlation is None

    def test_conditions_of_one_alone_are_left_out(self):
        assert compare_tables(table({OA: [(1, 0.2, 2, 0.1)]}), table({RA: [(1, 0.2, 2, 0.1)]})) == []


class TestImport:
    def write(self, tmp_path, text):
        path = tmp_path / "ranks.csv"
        path.write_text(text, encoding="utf-8")
        return path

    def test_columns_are_conditions_and_rows_are_ranks(self, tmp_path):
        text = (
            "rank,EA-NC-DG-NW,OA-SC-EG-EW\n1,trainable=True,num blocks=3\n2,learning rate=0.01,\n"
            "3,optimizer=adam weight decay,x=1e-5\n4\n"
        )
        imported = import_ranks(self.write(tmp_path, text), task="image")
        actions = {row.condition: [(action.object, action.value) for action in row.actions] for row in imported.rows}
        assert actions == {
            "EA-NC-DG-NW": [("trainable", True), ("learning_rate", 0.01), ("optimizer", "adam_weight_decay")],
            "OA-SC-EG-EW": [("num_blocks", 3), ("x", 1e-5)],
        }
        assert imported.source == "imported from ranks.csv"

    @pytest.mark.parametrize(
        ("cell", "value"), [("3", 3), ("3.0", 3.0), ("1e3", 1e3), ("1_0", "1_0"), ("1 0", "1_0"), ("inf", "inf")]
    )
    def test_values_are_numbers_as_json_has_them_or_names(self, tmp_path, cell, value):
        imported = import_ranks(self.write(tmp_path, f"OA-NC-NG-NW\nx={cell}\n"), task="image")
        (found,) = imported.rows[0].actions
        assert (found.value, type(found.value)) == (value, type(value))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "has 0 lines"),
            ("OA-NC-NG-NW\n", "has 1 lines"),
            ("a,b\n1,2\n", "no column's head is a condition such as EA-NC-DG-NW: a, b"),
            ("OA-NC-NG-NW\nxception\n", "line 2, OA-NC-NG-NW: 'xception' is no action"),
            ("OA-NC-NG-NW\n=0.01\n", "line 2, OA-NC-NG-NW: '=0.01' is no action"),
            ("OA-NC-NG-NW\nx=1\ny= \n", "line 3, OA-NC-NG-NW: 'y=' is no action"),
            ("OA-NC-NG-NW\nx=1\nx=1\n", "is there twice"),
            ("OA-NC-NG-NW\n,\n", "rows|at least 1"),
        ],
    )
    def test_what_is_of_another_form_is_refused(self, tmp_path, text, words):
        with pytest.raises(PriorityTableError, match=words):
            import_ranks(self.write(tmp_path, text), task="image")

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(PriorityTableError, match="cannot be read"):
            import_ranks(tmp_path / "none.csv", task="image")
